from __future__ import annotations

from streamlit.testing.v1 import AppTest

from tests.sample_house import House


def page(reader: object) -> None:
    # Runs as a script of its own, so it brings its imports along.
    from dashboard.app import readiness
    from dashboard.reader import DeskReader

    assert isinstance(reader, DeskReader)
    readiness(reader)


def shown(house: House) -> str:
    """Everything the page drew as HTML; fails where it raised."""
    app = AppTest.from_function(page, args=(house.reader,), default_timeout=30).run()
    assert not app.exception
    return "\n".join(str(element.proto.body) for element in app.get("html"))


def test_page_when_the_desk_traded_then_seven_lights_positions_and_trades() -> None:
    house = House()
    house.live()
    text = shown(house)
    assert text.count('class="gl-light ') == 7
    assert "PAPER" in text
    assert "REPLAY, synthetic intraday path" in text
    assert "Wed Jan 9 2008, 11:30 ET" in text
    for position in house.store.open_positions():
        assert f"${position.stop_price:,.2f}" in text
    assert text.count("✓ at the broker") == len(house.store.open_positions()) > 0
    assert 'role="alert"' not in text


def test_page_when_the_desk_has_not_traded_then_it_says_what_comes_next() -> None:
    house = House()
    text = shown(house)
    assert text.count('class="gl-light ') == 7
    assert "gl-light green" not in text
    assert "The curve begins with" in text
    assert "Nothing is held" in text
    assert "No trade has closed yet" in text


def test_page_when_the_store_dies_then_a_banner_and_no_green_light() -> None:
    house = House()
    house.live()
    assert "gl-light green" in shown(house)
    house.store.up = False
    text = shown(house)
    assert "The store does not answer" in text
    assert text.count('class="gl-light ') == 7
    assert "gl-light green" not in text


def test_page_when_there_is_no_desk_then_one_sentence() -> None:
    house = House()
    house.addresses = None
    text = shown(house)
    assert "greenlight up" in text
    assert "gl-light" not in text


def test_page_when_entries_are_halted_then_it_says_why() -> None:
    house = House()
    desk = house.live()
    house.store.halt(at=desk.now, until=None, reason="<b>daily loss</b>")
    text = shown(house)
    assert "halted until a person resumes: &lt;b&gt;daily loss&lt;/b&gt;" in text
