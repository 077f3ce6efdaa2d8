"""What `ray job submit -- python -m jobs …` runs: the same commands as `greenlight`'s."""

from __future__ import annotations

import typer

from cluster import cli, cli_backtest, cli_walkforward

app = typer.Typer(
    name="jobs",
    help="Backtests, sweeps and walk-forward on the cluster that this is submitted to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli_backtest.register(app)
cli_walkforward.register(app)

if __name__ == "__main__":
    cli.main(app)
