"""The classes of one application, and what follows from how they inherit. Pure: the bytes come from a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.java import platform
from deployer.java.class_file import ClassFileError, read_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deployer.java.class_file import ClassFile, Header

SERIALIZABLE = "java/io/Serializable"
EXTERNALIZABLE = "java/io/Externalizable"


class Classes:
    """headers: each class's head by internal name. load: gives a class's bytes.

    unreadable: names of classes that could not be read whole; they count as absent where more than the head is needed.
    """

    def __init__(self, headers: Mapping[str, Header], load: Callable[[str], bytes]) -> None:
        self.headers = headers
        self.unreadable: set[str] = set()
        self._load = load
        self._read: dict[str, ClassFile | None] = {}
        self._subtypes: dict[str, list[str]] | None = None
        self._kinds: dict[tuple[str, str], bool | None] = {}

    def __repr__(self) -> str:
        return f"<Classes: {len(self.headers)}, {len(self._read)} read>"

    def find(self, name: str) -> ClassFile | None:
        """A class of the application; None for another or an unreadable one."""
        if name in self._read or name not in self.headers:
            return self._read.get(name)
        try:
            found: ClassFile | None = read_class(self._load(name))
        except ClassFileError:
            self.unreadable.add(name)
            found = None
        self._read[name] = found
        return found

    def data(self, name: str) -> bytes:
        """A class's bytes. Raises ClassFileError when its archive is damaged."""
        return self._load(name)

    def serializable(self, name: str) -> bool | None:
        """Whether a class or interface extends Serializable; None when a class outside of what is known decides it."""
        return self._is(name, SERIALIZABLE)

    def externalizable(self, name: str) -> bool:
        """Whether a class extends Externalizable."""
        return self._is(name, EXTERNALIZABLE) is True

    def supertypes(self, name: str) -> Iterator[str]:
        """The name itself and all that it extends and implements, as far as they are of the application or named."""
        seen, waiting = {name}, [name]
        while waiting:
            one = waiting.pop()
            yield one
            header = self.headers.get(one)
            if header is not None:
                for parent in (header.super_name, *header.interfaces):
                    if parent is not None and parent not in seen:
                        seen.add(parent)
                        waiting.append(parent)

    def superclasses(self, name: str) -> Iterator[str]:
        """The classes of the application that a class extends, the nearest first."""
        seen = {name}
        while (header := self.headers.get(name)) is not None:
            parent = header.super_name
            if parent is None or parent not in self.headers or parent in seen:
                return
            seen.add(parent)
            yield parent
            name = parent

    def subtypes(self, name: str) -> list[str]:
        """All that extend or implement a type, without itself."""
        if self._subtypes is None:
            self._subtypes = {}
            for header in self.headers.values():
                for parent in (header.super_name, *header.interfaces):
                    if parent is not None and parent != "java/lang/Object":
                        self._subtypes.setdefault(parent, []).append(header.name)
        found, waiting = {name: None}, [name]
        while waiting:
            for one in self._subtypes.get(waiting.pop(), ()):
                if one not in found:
                    found[one] = None
                    waiting.append(one)
        return [one for one in found if one != name]

    def _is(self, name: str, wanted: str) -> bool | None:
        key = (name, wanted)
        if key not in self._kinds:
            self._kinds[key] = self._look_up(name, wanted)
        return self._kinds[key]

    def _look_up(self, name: str, wanted: str) -> bool | None:
        answer: bool | None = False
        for one in self.supertypes(name):
            if one == wanted:
                return True
            if one not in self.headers and wanted == SERIALIZABLE:
                outside = platform.serializable(one)
                if outside:
                    return True
                if outside is None and not _is_plain_interface(one):
                    answer = None
        return answer


def _is_plain_interface(name: str) -> bool:
    """The listeners and marks of the Servlet API, which application classes implement, are not Serializable."""
    return name.startswith(("jakarta/servlet/", "javax/servlet/"))
