"""Fills at the price itself, for tests about something else."""

from greenlight.domain.backtest_fills import CostTerms

FREE = CostTerms(
    half_spread_frac=0.0,
    slippage_frac=0.0,
    commission_frac=0.0,
    commission_usd_a_share=0.0,
    is_regulated=False,
)
