"""What the operator sees of a running plan: a live table on a terminal, lines elsewhere, JSON lines for machines.

JSON lines: `{"event": "plan", …}` first, then one object for each event of the runner, `{"event": "result", …}` last.
A reader that goes away never stops a release: what can't be written is dropped.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, ClassVar, Protocol, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.live import Live
    from rich.table import Table

    from deployer.plan import Plan
    from deployer.runner import Event, Outcome


class Console(Protocol):
    """Shows one command's plan and what comes of it."""

    def begin(self, plan: Plan) -> None:
        """Before the first step."""

    def event(self, event: Event) -> None:
        """Whenever something happens."""

    def end(self, plan: Plan, outcome: Outcome, where: Sequence[str]) -> None:
        """After the last step. where: what is running where now."""

    def say(self, text: str) -> None:
        """A sentence about no step."""


class Output:
    """A stream until it fails, then nothing: rich and the consoles below write to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._open = True

    def __repr__(self) -> str:
        return f"<Output {'open' if self._open else 'gone'}>"

    def line(self, text: str) -> None:
        """Writes a line at once, or nothing when the reader has gone."""
        self.write(text + "\n")
        self.flush()

    def write(self, text: str) -> int:
        """As a text stream's."""
        if self._open:
            try:
                self._stream.write(text)
            except (OSError, ValueError):
                self._open = False
        return len(text)

    def flush(self) -> None:
        """As a text stream's."""
        if self._open:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._open = False

    def isatty(self) -> bool:
        """As a text stream's."""
        return self._open and self._stream.isatty()

    def fileno(self) -> int:
        """As a text stream's."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """As a text stream's."""
        return self._stream.encoding


def verdict(plan: Plan, outcome: Outcome, where: Sequence[str]) -> list[str]:
    """The end of a command in words."""
    if outcome.state == "done":
        live = f": release {plan.release.id} is live in {plan.lands_on}" if plan.lands_on else ""
        lines = [f"done in {outcome.seconds:.1f} s{live}"]
    elif outcome.state == "undone":
        lines = ["failed, and undone: the site is as before", *_indented("why: ", outcome.problem)]
    else:
        lines = ["failed, and the site needs a person", *_indented("why: ", outcome.problem)]
        lines += _indented("the undo stopped: ", outcome.undo_problem) if outcome.undo_problem else []
    if outcome.advice:
        lines.append(f"what to do: {outcome.advice}")
    lines += [f"warning: {text}" for text in outcome.warnings]
    return [*lines, *where]


def _indented(head: str, text: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [head + first, *(f"  {line}" for line in rest)]


class LineConsole:
    """Plain lines. An undo that had nothing to do is not shown."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._steps = 0
        self._undo = ""

    def begin(self, plan: Plan) -> None:
        """See Console."""
        self._steps = len(plan.steps)
        self._out.line(plan.title)
        for note in plan.notes:
            self._out.line(f"note: {note}")

    def event(self, event: Event) -> None:
        """See Console."""
        place = f"[{event.number}/{self._steps}]" if event.number else "[-]"
        if event.kind == "undoing":
            self._undo = f"{place} undo: {event.name}"
            return
        if event.kind == "undone" and not event.text:
            return
        if self._undo:
            self._out.line(self._undo)
            self._undo = ""
        seconds = "" if event.seconds is None else f" ({event.seconds:.1f} s)"
        words = {
            "started": f"{place} {event.text}",
            "said": f"{place}   {event.text}",
            "done": f"{place}   done{seconds}: {event.text}",
            "failed": f"{place}   FAILED{seconds}: {event.text}",
            "undone": f"{place}   undone{seconds}: {event.text}",
            "undo-failed": f"{place}   UNDO FAILED: {event.text}",
            "warning": f"{place} warning: {event.text}",
        }
        self._out.line(words[event.kind])

    def end(self, plan: Plan, outcome: Outcome, where: Sequence[str]) -> None:
        """See Console."""
        for line in verdict(plan, outcome, where):
            self._out.line(line)

    def say(self, text: str) -> None:
        """See Console."""
        self._out.line(text)


class JsonConsole:
    """One JSON object a line."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def begin(self, plan: Plan) -> None:
        """See Console."""
        self._write("plan", **plan_document(plan))

    def event(self, event: Event) -> None:
        """See Console."""
        self._write(
            "step",
            number=event.number,
            step=event.name,
            state=event.kind,
            text=event.text,
            seconds=event.seconds,
            data=dict(event.data),
        )

    def end(self, plan: Plan, outcome: Outcome, where: Sequence[str]) -> None:
        """See Console."""
        self._write(
            "result",
            state=outcome.state,
            exit_code=outcome.exit_code,
            release=plan.release.id,
            previous=plan.previous,
            problem=outcome.problem,
            undo_problem=outcome.undo_problem,
            advice=outcome.advice,
            warnings=list(outcome.warnings),
            seconds=round(outcome.seconds, 3),
            where=list(where),
        )

    def say(self, text: str) -> None:
        """See Console."""
        self._write("note", text=text)

    def _write(self, event: str, **facts: object) -> None:
        self._out.line(json.dumps({"event": event, **facts}, ensure_ascii=False))


def plan_document(plan: Plan) -> dict[str, object]:
    """A plan as JSON data."""
    return {
        "title": plan.title,
        "release": plan.release.id,
        "previous": plan.previous,
        "lands_on": plan.lands_on,
        "notes": list(plan.notes),
        "steps": [
            {"number": number, "name": step.name, "slot": step.slot, "describe": step.describe()}
            for number, step in enumerate(plan.steps, 1)
        ],
    }


class LiveConsole:
    """A table of the steps that follows the run; needs a terminal, and imports rich."""

    _SIGNS: ClassVar = {
        "waiting": "[dim]·[/]",
        "started": "[cyan]▸[/]",
        "done": "[green]✓[/]",
        "failed": "[red]✗[/]",
        "undoing": "[yellow]↶[/]",
        "undone": "[yellow]↶[/]",
        "undo-failed": "[red]![/]",
    }

    def __init__(self, out: Output) -> None:
        # Imported here and below: rich costs 0.1 s, which all other commands save.
        from rich.console import Console as RichConsole

        self._rich = RichConsole(file=cast("IO[str]", out), highlight=False)
        self._rows: list[tuple[str, str, str, str]] = []
        self._live: Live | None = None

    def begin(self, plan: Plan) -> None:
        """See Console."""
        from rich.live import Live

        self.say(plan.title)
        for note in plan.notes:
            self.say(f"note: {note}")
        self._rows = [("waiting", step.name, "", "") for step in plan.steps]
        self._live = Live(self._table(), console=self._rich, refresh_per_second=8)
        self._live.start()

    def event(self, event: Event) -> None:
        """See Console."""
        if event.number and event.kind != "warning":
            state, name, text, seconds = self._rows[event.number - 1]
            state = state if event.kind == "said" else event.kind
            text = event.text if event.kind not in ("started", "undoing") else ""
            seconds = seconds if event.seconds is None else f"{event.seconds:.1f} s"
            self._rows[event.number - 1] = (state, name, text, seconds)
            if self._live is not None:
                self._live.update(self._table())
        elif event.kind == "warning":
            self.say(f"warning: {event.text}")

    def end(self, plan: Plan, outcome: Outcome, where: Sequence[str]) -> None:
        """See Console."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        for line in verdict(plan, outcome, where):
            self.say(line)

    def say(self, text: str) -> None:
        """See Console."""
        self._rich.print(text, markup=False)

    def _table(self) -> Table:
        from rich.markup import escape
        from rich.table import Table

        table = Table.grid(padding=(0, 1))
        for state, name, text, seconds in self._rows:
            first = text.splitlines()[0] if text else ""
            table.add_row(self._SIGNS[state], name, f"[dim]{seconds:>8}[/]", f"[dim]{escape(first)}[/]")
        return table
