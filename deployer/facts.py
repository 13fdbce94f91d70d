"""The commands that print facts: documents for machines, lines for people. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from deployer import advice
from deployer.errors import DeployerError
from deployer.journal import unfinished
from deployer.release import Observed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.assembly import Workshop
    from deployer.journal import Run

Document = dict[str, Any]
TRIAL_SHOWN = 600.0
"""Seconds for which `deployer status` tells of a trial that was undone, when no command was cut off."""


def status(shop: Workshop) -> Document:
    """What is running where, who works on it, what was cut off, and what to do."""
    names = {release.id: release.name for release in shop.store.list()}
    facts = {name: slot.observe() for name, slot in shop.slots.items()}
    problem, observed, in_flight, epoch = "", None, {}, None
    app = None
    try:
        app = shop.asking.app()
        in_flight = {slot.name: slot.in_flight for slot in app.slots}
        epoch = app.epoch
        if app.active in facts:
            observed = Observed(app.active, app.switching, facts, in_flight, app.trial)
        else:
            problem = f"its active slot is {app.active}, which deployer.yaml does not have"
    except DeployerError as error:
        problem = str(error)
    holder = shop.lock.holder()
    runs = shop.journal.runs(20)
    cut = unfinished(runs, holder.pid if holder else None)
    active = observed.active if observed else None
    if cut is not None:
        hints = advice.after_cut_off(cut, shop.journal.steps(cut.id), observed, names)
    else:
        hints = [] if holder else advice.hints(observed, shop.settings.strategy)
    since = cut.started if cut is not None else shop.clock.time() - TRIAL_SHOWN
    trial = app.trial if app is not None else None
    last_trial = app.last_trial if app is not None else None
    return {
        "app": shop.settings.app,
        "active": active,
        "switching": observed.switching if observed else None,
        "epoch": epoch,
        "proxy": {"url": shop.settings.proxy.url, "problem": problem or None},
        "trial": trial.model_dump(mode="json", by_alias=True) if trial else None,
        "last_trial": last_trial.model_dump(mode="json", by_alias=True) if last_trial else None,
        "slots": {
            name: {
                **asdict(one),
                "active": name == active,
                "release_name": names.get(one.release_id or ""),
                "url": shop.ways.places[name].url,
                "in_flight": in_flight.get(name),
            }
            for name, one in facts.items()
        },
        "where": advice.where(active, facts, names),
        "lock": asdict(holder) if holder else None,
        "last": run_document(runs[0]) if runs else None,
        "cut_off": run_document(cut) if cut else None,
        "notes": [shop.kind.sessions_note] if shop.kind.sessions_note else [],
        "advice": [*hints, *advice.on_trial(app, since, shop.clock.time())] if app is not None else hints,
    }


def status_lines(document: Document, now: float) -> list[str]:
    """`deployer status` for people."""
    problem = document["proxy"]["problem"]
    lines = [f"app {document['app']}, proxy {document['proxy']['url']}" + (f": {problem}" if problem else "")]
    rows = [["slot", "", "release", "state", "since", "sessions", "in flight", "memory", "address"]]
    for name, slot in document["slots"].items():
        state = "ready" if slot["http_ready"] else "not ready" if slot["running"] else "stopped"
        since = _span(now - slot["started"]) if slot["started"] else ""
        release = slot["release_id"] or "none"
        name_of = f" ({slot['release_name']})" if slot["release_name"] else ""
        pid = f" pid {slot['pid']}" if slot["pid"] else ""
        rows.append(
            [
                name,
                "active" if slot["active"] else "",
                release + name_of,
                state + pid,
                since,
                _shown(slot["sessions"]),
                _shown(slot["in_flight"]),
                f"{slot['memory'] >> 20} MiB" if slot["memory"] else "",
                slot["url"],
            ]
        )
    lines += table(rows)
    lock = document["lock"]
    if lock:
        lines.append(f"locked by pid {lock['pid']} ({lock['by']}) for {_span(now - lock['since'])}: {lock['command']}")
    elif document["last"] and not document["cut_off"]:
        lines.append(f"last: {_run_line(document['last'])}")
    lines += [f"note: {note}" for note in document["notes"]]
    return [*lines, *(f"-> {hint}" for hint in document["advice"])]


def history(shop: Workshop, limit: int) -> Document:
    """The commands, newest first, and the releases in the store."""
    holder = shop.lock.holder()
    runs = shop.journal.runs(limit)
    cut = unfinished(runs, holder.pid if holder else None)
    return {
        "runs": [{**run_document(run), "cut_off": cut is not None and run.id == cut.id} for run in runs],
        "stored": [
            {"id": release.id, "name": release.name, "size": release.size, "added": release.added}
            for release in shop.store.list()
        ],
    }


def history_lines(document: Document) -> list[str]:
    """`deployer history` for people."""
    lines = [_run_line(run) for run in document["runs"]] or ["no command has changed the site yet"]
    rows = [["stored release", "file", "size", "since"]]
    rows += [[one["id"], one["name"], f"{one['size'] / 1e6:.1f} MB", _when(one["added"])] for one in document["stored"]]
    return [*lines, *(table(rows) if document["stored"] else ())]


def show(shop: Workshop, run: Run) -> Document:
    """One command with its steps."""
    return {**run_document(run), "steps": [asdict(step) for step in shop.journal.steps(run.id)]}


def show_lines(document: Document) -> list[str]:
    """`deployer show` for people."""
    lines = [_run_line(document), f"by {document['by']}, pid {document['pid']}"]
    lines += [f"message: {document['message']}"] if document["message"] else []
    rows = []
    for step in document["steps"]:
        seconds = f"{step['ended'] - step['started']:.1f} s" if step["ended"] else ""
        undo = "undo " if step["phase"] == "undo" else ""
        state = "cut off" if step["state"] == "intended" else step["state"]
        detail = step["detail"].splitlines()
        rows.append([str(step["number"]), undo + step["name"], state, seconds, detail[0] if detail else ""])
    for row, step in zip(table(rows), document["steps"], strict=True):
        lines.append(row)
        # A failed step's words are the command's too, which stand at the end.
        lines += [f"  {line}" for line in step["detail"].splitlines()[1:] if step["state"] == "done"]
    return [*lines, *document["detail"].splitlines()]


def sessions(shop: Workshop) -> Document:
    """How many sessions each slot has, and which other members it sees."""
    found: Document = {}
    for name, slot in shop.slots.items():
        control = slot.cluster
        if control is None:
            found[name] = {"sessions": None, "members": [], "problem": "its kind does not tell"}
            continue
        try:
            found[name] = {"sessions": control.active_sessions(), "members": list(control.members()), "problem": None}
        except DeployerError as error:
            stopped = not slot.observe().running
            found[name] = {"sessions": None, "members": [], "problem": "stopped" if stopped else str(error)}
    return {"replicate": shop.settings.sessions.replicate, "note": shop.kind.sessions_note, "slots": found}


def sessions_lines(document: Document) -> list[str]:
    """`deployer sessions` for people."""
    lines = [document["note"]] if document["note"] else []
    for name, slot in document["slots"].items():
        seen = ", ".join(map(str, slot["members"])) or "none"
        lines.append(f"{name}: {slot['problem'] or str(slot['sessions']) + ' sessions; cluster peers: ' + seen}")
    return lines


def run_document(run: Run) -> Document:
    """A journalled command as data."""
    return asdict(run)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side; empty ones are left out."""
    if not rows:
        return []
    used = [index for index in range(len(rows[0])) if any(row[index] for row in rows[1:] or rows)]
    widths = {index: max(len(row[index]) for row in rows) for index in used}
    return ["  ".join(row[index].ljust(widths[index]) for index in used).rstrip() for row in rows]


def _run_line(run: Mapping[str, Any]) -> str:
    what = f"{run['kind']} {run['release'] or ''}".strip()
    name = f" ({run['name']})" if run["name"] else ""
    states = {
        "running": "cut off" if run.get("cut_off") else "running",
        "undone": "failed, undone",
        "failed": "failed, needs a person",
    }
    state = states.get(run["state"], run["state"])
    seconds = f" in {_span(run['ended'] - run['started'])}" if run["ended"] else ""
    strategy = f" by {run['strategy']}" if run["strategy"] else ""
    message = f": {run['message']}" if run["message"] else ""
    return f"{_when(run['started'])}  #{run['id']} {what}{name}{strategy}  {state}{seconds}{message}"


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _span(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} d"


def _shown(value: object) -> str:
    return "" if value is None else str(value)
