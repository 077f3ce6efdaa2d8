"""The page "Readiness": seven lights, equity, open positions with their stops, trades.

`streamlit run dashboard/app.py` runs it with ``GREENLIGHT_HOME`` set. It reads
and never writes; every part refreshes by itself every two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import altair as alt
import pandas as pd
import streamlit as st

from dashboard import markup, view_model
from dashboard.reader import Addresses, DeskReader, Snapshot, find_desk, system_clock
from dashboard.view_model import CurvePoint
from greenlight.adapters.no_cache import NoCache
from greenlight.adapters.redis_cache import RedisCache
from greenlight.adapters.timescale import TimescaleStore
from greenlight.domain.sentiment_status import in_words
from greenlight.ports import Cache, Store
from greenlight.settings import load_settings

REFRESH_S: Final = 2
_STORE_TIMEOUT_S: Final = 1.0
_STATEMENT_S: Final = 5.0


def connect(addresses: Addresses) -> tuple[Store, Cache]:
    """The desk's store and cache; neither waits long for an answer."""
    url = addresses.cache_url
    store = TimescaleStore(
        addresses.database_url, connect_timeout_s=_STORE_TIMEOUT_S, deadline_s=_STATEMENT_S
    )
    return store, NoCache() if url is None else RedisCache(url)


@st.cache_resource
def desk_reader() -> DeskReader:
    """One reader for all who look, so that they share what it remembers."""
    settings = load_settings()
    return DeskReader(
        find=lambda: find_desk(settings.home, settings.database_url),
        connect=connect,
        clock=system_clock,
        sentiment=lambda store: (
            store.sentiment_state() if isinstance(store, TimescaleStore) else None
        ),
    )


@st.fragment(run_every=REFRESH_S)
def readiness(reader: DeskReader) -> None:
    """The whole page, as of now."""
    reading = reader.read()
    if reading.trouble is not None:
        since = "" if reading.snapshot is None else " Below is what was read last."
        st.html(markup.trouble(reading.trouble + since))
    if reading.snapshot is None:
        if reading.trouble is None:
            st.html(markup.empty("Waiting for the desk."))
        return
    show(reading.snapshot, is_current=reading.trouble is None)
    if reading.ray_dashboard_url is not None:
        st.caption(f"Cluster health: [Ray dashboard]({reading.ray_dashboard_url})")


def show(snapshot: Snapshot, *, is_current: bool) -> None:
    """Draw a snapshot; one that is not current has no green light."""
    evaluation = snapshot.evaluation
    if not is_current:
        evaluation = view_model.outdated(evaluation)
    age = view_model.age(system_clock() - snapshot.changed_at)
    st.html(
        markup.head(
            view_model.badges(evaluation),
            view_model.eastern(snapshot.now),
            view_model.utc(snapshot.now),
            f"data from {age}",
        )
    )
    for halt in snapshot.halts:
        until = "a person resumes" if halt.until is None else view_model.eastern(halt.until)
        st.html(markup.trouble(f"Entries are halted until {until}: {halt.reason}"))
    st.html(markup.top(view_model.summary(evaluation, snapshot.curve)))
    st.html(markup.lights(view_model.lights(evaluation)))

    st.html(markup.heading("Equity"))
    if len(snapshot.curve) > 1:
        st.altair_chart(equity_chart(snapshot.curve), width="stretch")
    else:
        st.html(markup.empty("The curve begins with the first market minute of the first session."))

    st.html(markup.heading("Open positions"))
    if snapshot.positions:
        rows = view_model.position_rows(snapshot.positions, snapshot.prices, snapshot.coverage)
        st.html(markup.positions(rows))
    else:
        st.html(markup.empty("Nothing is held. The next signal that passes every limit opens one."))

    st.html(markup.heading("Recent closed trades"))
    if snapshot.trades:
        st.html(markup.trades(view_model.trade_rows(snapshot.trades)))
    else:
        st.html(markup.empty("No trade has closed yet; a position is held for three days at most."))

    if snapshot.sentiment is not None:
        told = (f"{name} {text}" for name, text in in_words(snapshot.sentiment))
        st.html(markup.heading("Sentiment"))
        st.caption("; ".join(told))

    st.html(markup.heading("Volatility forecasts"))
    if snapshot.forecasts:
        st.html(markup.volatility(view_model.volatility_rows(snapshot.forecasts)))
        st.caption(view_model.volatility_quality(snapshot.scores))
    else:
        st.html(markup.empty("None yet; they are made after a session's close."))


def equity_chart(points: Sequence[CurvePoint]) -> alt.LayerChart:
    """Marked equity over Eastern time, in US dollars."""
    frame = pd.DataFrame(
        {
            "at": [point.eastern for point in points],
            "equity": [point.equity_usd for point in points],
        }
    )
    low, high = float(frame["equity"].min()), float(frame["equity"].max())
    margin = max((high - low) * 0.08, 1.0)
    scale = alt.Scale(domain=[low - margin, high + margin], nice=False, zero=False)
    # "utc" keeps the browser's own zone out: the values are New York's already.
    x = alt.X("at:T", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(grid=False))
    y = alt.Y("equity:Q", title=None, scale=scale, axis=alt.Axis(format="$,.0f", tickCount=5))
    base = alt.Chart(frame)
    area = base.mark_area(opacity=0.12, color="#2f7de1", clip=True, interpolate="linear").encode(
        x=x, y=y, y2=alt.value(260)
    )
    line = base.mark_line(color="#2f7de1", strokeWidth=2).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("at:T", title="Eastern", format="%a %b %d %Y %H:%M"),
            alt.Tooltip("equity:Q", title="Equity", format="$,.2f"),
        ],
    )
    chart: alt.LayerChart = (area + line).properties(height=260)
    return chart


def main() -> None:
    """Set the page up and draw it."""
    st.set_page_config(page_title="Greenlight · Readiness", page_icon="🚦", layout="wide")
    st.html(markup.STYLE)
    readiness(desk_reader())


if __name__ == "__main__":
    main()
