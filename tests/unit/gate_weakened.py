"""Gates of which one rule is weakened, to ask whether the models would notice.

The rules are those that a model finds by itself within EXAMPLES runs; test_gate.py has further ones.
"""

from __future__ import annotations

import builtins
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.test_gate_model import GateMachine
from tests.unit.test_weights_model import WeightsModel

if TYPE_CHECKING:
    from proxy.core.gate import Gate

ROOT: Final = Path(__file__).resolve().parents[2]
MODULES: Final = ("busy", "barrier", "waiting", "gate")
"""Of proxy.core, each before those that import it. What they share with others (tickets, errors) stays as it is."""
EXAMPLES: Final = 400
GATE: Final = GateMachine
WEIGHTS: Final = WeightsModel


@dataclass(frozen=True, slots=True)
class Weakening:
    """`old` stands in the module exactly once; `new` is put in its place. `model`: what must notice."""

    rule: str
    module: str
    old: str
    new: str
    model: type[GateMachine] | type[WeightsModel] = GATE

    def apply(self, text: str) -> str:
        """Raises ValueError when the file has changed, so that this must, too."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.rule}: {self.module} has {self.old!r} {text.count(self.old)} times")
        return text.replace(self.old, self.new)

    def gate(self) -> type[Gate]:
        """The gate with the rule weakened, made of modules of its own."""
        made: dict[str, ModuleType] = {}

        def importing(name: str, *arguments: Any) -> ModuleType:
            return made.get(name) or importlib.__import__(name, *arguments)

        for module in MODULES:
            path = ROOT / "proxy/core" / f"{module}.py"
            text = self.apply(path.read_text()) if module == self.module else path.read_text()
            name = f"proxy.core.{module}"
            importlib.import_module(name)  # dataclasses look for it
            made[name] = ModuleType(name)
            made[name].__dict__["__builtins__"] = {**vars(builtins), "__import__": importing}
            exec(compile(text, str(path), "exec"), vars(made[name]))
        weakened: type[Gate] = made["proxy.core.gate"].Gate
        return weakened


def look_for_faults(gate: type[Gate], model: type[GateMachine] | type[WeightsModel]) -> None:
    """Runs the model with these gates, always in the same way. Raises what the model raises."""
    machine = type(model.__name__, (model,), {"gate_class": gate})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            phases=(Phase.generate,),
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=tuple(HealthCheck),
            verbosity=Verbosity.quiet,
        ),
    )


_WAKE_OF_SWITCH: Final = "Effects(wake=self._waiting.all(), look_again=self._next_look()))"

WEAKENINGS: Final = (
    Weakening(
        "a session waits for its barrier",
        "gate",
        "if session is not None and self._barrier.blocks(session):",
        "if False:",
    ),
    Weakening(
        "requests wait during a hold",
        "gate",
        "if self._hold is not None or self._paused_until is not None:",
        "if self._paused_until is not None:",
    ),
    Weakening(
        "requests wait during a pause",
        "gate",
        "if self._hold is not None or self._paused_until is not None:",
        "if self._hold is not None:",
    ),
    Weakening("a switch wakes", "gate", _WAKE_OF_SWITCH, "Effects(look_again=self._next_look()))"),
    Weakening("a session's end wakes", "gate", "Effects(wake=self._waiting.of(free))", "Effects()"),
    Weakening("a barrier ends by itself", "gate", "bool(self._barrier) and self._barrier.until <= now", "False"),
    Weakening(
        "an old switch is ignored",
        "gate",
        "        if epoch <= self.epoch:\n            return None\n        hold_ms",
        "        hold_ms",
    ),
    Weakening(
        "an old hold is ignored",
        "gate",
        "        if epoch <= self.epoch:\n            return None\n        since",
        "        since",
    ),
    Weakening("a drained slot is empty", "gate", "if not self.slots[slot].outstanding:", "if True:"),
    Weakening(
        "a drained slot is empty at a release",
        "gate",
        "if slot.name in self._draining and not slot.outstanding:",
        "if slot.name in self._draining:",
    ),
    Weakening("a drain is told", "gate", "effects.drained = slot.name", "pass"),
    Weakening(
        "what has just ended is busy",
        "gate",
        "            recent.append((now, head))\n            while recent[0][0]",
        "            while recent and recent[0][0]",
    ),
    Weakening("patience ends", "gate", "effects.refuse = self._waiting.expire(now)", "pass"),
    Weakening(
        "all slots that are left count",
        "gate",
        "if slot.name != staying]",
        "if slot is self.active]",
        WEIGHTS,
    ),
    Weakening(
        "maintenance answers",
        "gate",
        "if self._maintenance is not None:\n            self._w",
        "if False:\n            self._w",
    ),
    Weakening("running sessions are busy", "busy", "if session is not None:\n", "if False:\n"),
    Weakening(
        "an end is told late",
        "busy",
        "                self._lingering.append((now + LINGER, busy, session))\n                told",
        "                self._lingering.append((now, busy, session))\n                told",
    ),
    Weakening("a session ends with its last exchange", "busy", "if busy.counts[session] == 0 and", "if"),
    Weakening(
        "an abandoned hold is not told of",
        "busy",
        "return busy is self._in_force or busy is self._undecided",
        "return True",
    ),
    Weakening("a session ends in all workers", "barrier", "if self._blocked[session] > 1:", "if False:"),
    Weakening("nobody knows who is busy", "barrier", "self._everybody = busy is None", "self._everybody = False"),
    Weakening("waiting is bounded", "waiting", "if len(self.places) >= self._most:", "if False:"),
    Weakening("who waits is found by its session", "waiting", "        place.session = session\n", ""),
    Weakening(
        "who was served waits no more",
        "gate",
        "        if self._waiting.places:\n            self._waiting.remove(owner)\n",
        "",
    ),
)
