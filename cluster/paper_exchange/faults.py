"""Fault switches: rules that make the exchange misbehave on purpose.

Decided here: how a rule is matched and counted. The rules are set over the
control route; the HTTP middleware in `rest` and the hubs in `streams` ask the
board what to do. Without `--faults` the board stays empty.

Notes
-----
A rule is JSON: `{"match": …, "action": …, "after": n, "count": n, …}`. `match`
is a regular expression. For HTTP it is searched in `"METHOD /path?query body"`,
for the streams in `"data:<channel>:<symbol>"`, `"trade_updates:<event>:<symbol>"`,
`"news:n:"` or `"connect:<stream>"`. The first `after` matches pass, the next
`count` (default 1, 0 = without end) are hit. Actions:

HTTP
    `delay` (`delay_s`), `drop`, `status` (`status`, `body`, `content_type`),
    `hold` (never answer), `fill` (fill the order in the path first), `partial`
    (`qty`: fill so much of the new order, then no more), `duplicate_code`
    (`code`: the code of the duplicate-id refusal). For `drop`, `status` and
    `hold` the request is carried out first where `commit` is true, the default
    for `drop`.
Streams
    `mute` (say nothing), `duplicate` (`times`), `poison` (`fields`: values put
    over the message's), `delay` (`delay_s`, trade updates), `slow` (error 407),
    `reject` (at connect: 406 on data, 429 on trades).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

ACTIONS: Final = frozenset(
    {
        "delay",
        "drop",
        "status",
        "hold",
        "fill",
        "partial",
        "duplicate_code",
        "mute",
        "duplicate",
        "poison",
        "slow",
        "reject",
    }
)


class BadRule(ValueError):
    """A fault rule that cannot be understood."""


@dataclass(slots=True)
class Rule:
    """One switch; `seen` counts its matches, `hits` how often it acted."""

    id: int
    pattern: re.Pattern[str]
    action: str
    after: int = 0
    count: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    hits: int = 0

    def describe(self) -> dict[str, Any]:
        """The rule as JSON."""
        return {
            "id": self.id,
            "match": self.pattern.pattern,
            "action": self.action,
            "after": self.after,
            "count": self.count,
            "seen": self.seen,
            "hits": self.hits,
            **self.options,
        }


class FaultBoard:
    """The rules in force, in the order they were set."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._next_id = 1

    def add(self, body: dict[str, Any]) -> Rule:
        """Set a rule.

        Raises
        ------
        BadRule
            The rule lacks a field or names an unknown action.
        """
        options = dict(body)
        try:
            pattern = re.compile(str(options.pop("match")), re.DOTALL)
            action = str(options.pop("action"))
            after, count = int(options.pop("after", 0)), int(options.pop("count", 1))
        except (KeyError, ValueError, re.error) as error:
            raise BadRule(f"bad rule: {error!r}") from error
        if action not in ACTIONS:
            raise BadRule(f"unknown action {action!r}; known: {', '.join(sorted(ACTIONS))}")
        rule = Rule(self._next_id, pattern, action, after, count, options)
        self._next_id += 1
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Drop every rule."""
        self.rules.clear()

    def hit(self, subject: str, actions: frozenset[str]) -> Rule | None:
        """The first rule with one of `actions` that strikes `subject`, counted."""
        for rule in self.rules:
            if rule.action not in actions or not rule.pattern.search(subject):
                continue
            if rule.count and rule.hits >= rule.count:
                continue
            rule.seen += 1
            if rule.seen <= rule.after:
                continue
            rule.hits += 1
            return rule
        return None
