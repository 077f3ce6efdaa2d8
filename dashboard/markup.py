"""The page's markup: the view model as HTML, readable on dark and light, wide and narrow.

Before it stands the view model; after it the page. Every text from outside is
escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from dashboard.view_model import Badge, Light, PositionRow, Summary, TradeRow, VolatilityRow

STYLE: Final = """
<style>
[data-testid="stAppDeployButton"] { display:none; }
[data-testid="stMainBlockContainer"] { padding-top:4.4rem; max-width:1320px; }
.gl { --green:#17a35e; --red:#e04f4f; --short:#c98a12; --stale:#8a6fd1; --line:#8883;
  --soft:#8881; font-size:15px; line-height:1.4; font-variant-numeric:tabular-nums; }
.gl .green { --c:var(--green); } .gl .red { --c:var(--red); }
.gl .short { --c:var(--short); } .gl .stale { --c:var(--stale); }
.gl-head { display:flex; flex-wrap:wrap; gap:8px 10px; align-items:center; }
.gl-name { font-size:26px; font-weight:700; letter-spacing:-.02em; margin-right:6px; }
.gl-badge { font-size:12px; font-weight:700; letter-spacing:.05em; padding:3px 9px;
  border-radius:999px; border:1px solid var(--line); white-space:nowrap; }
.gl-badge.paper { background:#2f7de1; border-color:#2f7de1; color:#fff; }
.gl-badge.live { background:var(--red); border-color:var(--red); color:#fff; }
.gl-badge.replay { background:#8a6fd126; border-color:#8a6fd1; }
.gl-badge.plain { font-weight:500; letter-spacing:0; opacity:.75; }
.gl-time { margin-left:auto; text-align:right; font-size:13px; opacity:.75; }
.gl-top { display:flex; flex-wrap:wrap; gap:6px 36px; margin:16px 0 14px; align-items:baseline; }
.gl-top b { font-size:30px; font-weight:700; letter-spacing:-.02em; }
.gl-top span { opacity:.8; margin-left:8px; }
.gl-gain { color:var(--green); opacity:1 !important; }
.gl-loss { color:var(--red); opacity:1 !important; }
.gl-lights { display:grid; gap:12px; grid-template-columns:repeat(auto-fill,minmax(255px,1fr)); }
.gl-light { border:1px solid var(--line); border-top:5px solid var(--c); border-radius:12px;
  padding:12px 14px 13px; background:color-mix(in srgb, var(--c) 7%, transparent);
  display:flex; flex-direction:column; min-height:158px; }
.gl-light header { display:flex; align-items:center; gap:10px; }
.gl-lamp { flex:none; width:34px; height:34px; border-radius:50%; background:var(--c); color:#fff;
  font-size:19px; font-weight:800; display:grid; place-items:center;
  box-shadow:0 0 14px color-mix(in srgb, var(--c) 45%, transparent); }
.gl-light h3 { all:unset; font-weight:650; font-size:15px; line-height:1.2; display:block; }
.gl-word { font-size:12px; font-weight:700; color:var(--c); }
.gl-value { margin-left:auto; font-size:21px; font-weight:700; letter-spacing:-.02em;
  white-space:nowrap; }
.gl-reason { margin-top:9px; }
.gl-small { font-size:12.5px; opacity:.68; margin-top:auto; padding-top:7px; }
.gl-bar { height:5px; border-radius:3px; background:var(--line); margin-top:9px;
  overflow:hidden; }
.gl-bar i { display:block; height:100%; background:var(--c); }
.gl h2 { all:unset; display:block; font-size:18px; font-weight:700; margin:26px 0 8px; }
.gl-scroll { overflow-x:auto; }
.gl table { border-collapse:collapse; width:100%; font-size:14px; border:0; }
.gl th { text-align:right; font-weight:600; font-size:12px; opacity:.65; padding:5px 10px;
  border:0; border-bottom:1px solid var(--line); white-space:nowrap; }
.gl td { text-align:right; padding:8px 10px; border:0; border-bottom:1px solid var(--soft);
  white-space:nowrap; }
.gl th:first-child, .gl td:first-child { text-align:left; padding-left:2px; }
.gl td.text, .gl th.text { text-align:left; }
.gl td small { display:block; opacity:.7; font-size:12px; }
.gl-track { position:relative; height:6px; border-radius:3px; min-width:130px;
  background:linear-gradient(90deg,#e04f4f99,#8884 45%,#8884 55%,#17a35e99); margin:5px 0; }
.gl-track i { position:absolute; top:-3px; width:2px; height:12px; background:currentColor;
  opacity:.45; }
.gl-track u { position:absolute; top:-4px; width:12px; height:12px; margin-left:-6px;
  border-radius:50%; background:currentColor; }
.gl-ends { display:flex; justify-content:space-between; font-size:12px; opacity:.75; gap:12px; }
.gl-empty { padding:16px; border:1px dashed var(--line); border-radius:12px; opacity:.8; }
.gl-trouble { padding:12px 16px; border-radius:12px; border:1px solid var(--short);
  background:#c98a1222; margin-bottom:14px; font-weight:600; }
@media (max-width:640px) {
  .gl-time { margin-left:0; text-align:left; width:100%; }
  .gl-lights { grid-template-columns:1fr; gap:9px; } .gl-light { min-height:0; }
  .gl-wide { display:none; } .gl td, .gl th { padding:7px 6px; } .gl table { font-size:13px; }
  .gl-track { min-width:86px; } .gl-name { font-size:22px; } .gl-top b { font-size:25px; }
}
</style>
"""


def _tone(is_gain: bool | None) -> str:
    return "" if is_gain is None else "gl-gain" if is_gain else "gl-loss"


def _page(body: str) -> str:
    return f'<div class="gl">{body}</div>'


def trouble(text: str) -> str:
    """A plain banner."""
    return _page(f'<div class="gl-trouble" role="alert">{escape(text)}</div>')


def empty(text: str) -> str:
    """What comes where there is nothing yet."""
    return _page(f'<div class="gl-empty">{escape(text)}</div>')


def head(badges: Sequence[Badge], time: str, time_utc: str, age: str) -> str:
    """Name, badges, and the time of the data."""
    marks = "".join(f'<span class="gl-badge {b.css}">{escape(b.text)}</span>' for b in badges)
    return _page(
        f'<div class="gl-head"><span class="gl-name">Greenlight</span>{marks}'
        f'<span class="gl-time" title="{escape(time_utc)}">{escape(time)}<br>'
        f"{escape(age)}</span></div>"
    )


def top(summary: Summary) -> str:
    """The verdict and the account."""
    tone = "gl-gain" if summary.is_ready else ""
    return _page(
        f'<div class="gl-top"><div><b class="{tone}">{escape(summary.verdict)}</b>'
        f"<span>{escape(summary.detail)}</span></div>"
        f"<div><b>{escape(summary.equity)}</b>"
        f'<span class="{_tone(summary.is_gain)}">{escape(summary.change)}</span></div></div>'
    )


def lights(seven: Sequence[Light]) -> str:
    """The lights, as cards."""
    return _page(f'<div class="gl-lights">{"".join(map(_light, seven))}</div>')


def _light(light: Light) -> str:
    bar = ""
    if light.progress is not None:
        bar = f'<div class="gl-bar"><i style="width:{100 * light.progress:.0f}%"></i></div>'
    small = "<br>".join(escape(text) for text in (light.detail, light.rule) if text)
    return (
        f'<section class="gl-light {light.look.css}"><header>'
        f'<span class="gl-lamp" aria-hidden="true">{light.look.icon}</span>'
        f'<div><h3>{escape(light.title)}</h3><span class="gl-word">{light.look.word}</span></div>'
        f'<span class="gl-value">{escape(light.value)}</span></header>{bar}'
        f'<div class="gl-reason">{escape(light.reason)}</div>'
        f'<div class="gl-small">{small}</div></section>'
    )


def heading(text: str) -> str:
    """A section's heading."""
    return _page(f"<h2>{escape(text)}</h2>")


def positions(rows: Sequence[PositionRow]) -> str:
    """Open positions, each with its place between stop and target."""
    return _table(
        '<th>Symbol</th><th class="gl-wide">Shares</th><th class="gl-wide">Entry</th>'
        '<th>Last</th><th>P&amp;L</th><th class="text">Stop → target</th>'
        '<th class="text">Stop</th><th class="gl-wide">Leaves by</th>',
        [_position(row) for row in rows],
    )


def _position(row: PositionRow) -> str:
    dot = "" if row.place is None else f'<u style="left:{100 * row.place:.0f}%"></u>'
    tone = "gl-gain" if row.is_covered else "gl-loss"
    sign = "✓" if row.is_covered else "✕"
    return (
        f"<td><b>{escape(row.symbol)}</b></td>"
        f'<td class="gl-wide">{row.qty}</td><td class="gl-wide">{row.entry}</td>'
        f"<td>{row.last}</td>"
        f'<td class="{_tone(row.is_gain)}">{row.pnl}<small>{row.pnl_frac}</small></td>'
        f'<td class="text"><div class="gl-track">'
        f'<i style="left:{100 * row.entry_place:.0f}%"></i>{dot}</div>'
        f'<div class="gl-ends"><span>{row.stop}</span><span>{row.target}</span></div></td>'
        f'<td class="text {tone}">{sign} {escape(row.cover)}</td>'
        f'<td class="gl-wide">{escape(row.exit_by)}</td>'
    )


def trades(rows: Sequence[TradeRow]) -> str:
    """Closed trades."""
    return _table(
        '<th>Symbol</th><th class="gl-wide">Shares</th><th class="gl-wide">Entry</th>'
        '<th class="gl-wide">Exit</th><th>Net</th><th>Return</th>'
        '<th class="text">Left by</th><th>Closed</th>',
        [
            f"<td><b>{escape(row.symbol)}</b></td>"
            f'<td class="gl-wide">{row.qty}</td><td class="gl-wide">{row.entry}</td>'
            f'<td class="gl-wide">{row.exit}</td>'
            f'<td class="{_tone(row.is_gain)}">{row.net}</td>'
            f'<td class="{_tone(row.is_gain)}">{row.net_frac}</td>'
            f'<td class="text">{escape(row.reason)}</td>'
            f'<td title="{row.closed_utc}">{escape(row.closed)}</td>'
            for row in rows
        ],
    )


def volatility(rows: Sequence[VolatilityRow]) -> str:
    """Forecasts of volatility."""
    return _table(
        "<th>Symbol</th><th>Next day</th><th>Fifth day</th><th>A year</th>"
        '<th class="text gl-wide">Model</th><th class="text">Age</th>'
        '<th class="text gl-wide">Remark</th>',
        [
            f"<td><b>{escape(row.symbol)}</b></td><td>{row.next_day}</td>"
            f"<td>{row.five_days}</td><td>{row.yearly}</td>"
            f'<td class="text gl-wide">{escape(row.model)}</td>'
            f'<td class="text">{escape(row.age)}</td>'
            f'<td class="text gl-wide">{escape(row.remark)}</td>'
            for row in rows
        ],
    )


def _table(headings: str, rows: Sequence[str]) -> str:
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return _page(
        f'<div class="gl-scroll"><table><thead><tr>{headings}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
