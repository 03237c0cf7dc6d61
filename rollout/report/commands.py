"""The next command, so that copying its line works: it repeats how this command line reached its cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_COMMAND = re.compile(
    r"\brollout (?P<verb>plan|migrate|evidence|status|resume|rollback|approve|hold|stop)\b"
    r"(?P<target>(?: (?!-)[\w.*-]*[\w*])*)(?P<flags>(?: --[a-z][\w-]*(?:=(?:'[^']*'|[^\s,]|,(?=\S))*)?)*)"
)
_ASSIGNED = ("plan", "migrate")
#: It reads metrics as they do, and takes these of their flags.
_EVIDENCE = "evidence"
_READING = ("--metrics-match", "--look-back")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_WORD = r"(?:'[^']*'|\"[^\"]*\"|\S)+"
#: Words in a sentence that are typed as they stand; punctuation ends a command, where no quote holds it.
_TYPED = re.compile(
    r"`[^`]*`\S*"
    r"|(?<!\S)(?:kubectl|istioctl|rollout (?=[a-z])|echo (?='))(?:'[^']*'|\"[^\"]*\"|(?![,;:](?: |$)).)*[,;:]?"
    r"|(?<!\S)(?:--[a-z-]+ )?(?:'[^']*'|\"[^\"]*\")\S*(?: --[a-z-]+ \S+)*"
    r"|(?<!\S)\{\S+"
)
_RUN = re.compile(r"(.+)-\d{8}-\d{4}-[0-9a-f]{4}")


class Again(msgspec.Struct, frozen=True):
    """What a following command has to repeat, as words that a shell reads.

    Args:
        cluster: flags of every command that talks to the cluster.
        assignment: flags that `plan` and `migrate` alone take (`evidence` some of them).
        ephemeral: the cluster is a lab that ends with this command, so that no run of it can be taken up.
    """

    cluster: tuple[str, ...] = ()
    assignment: tuple[str, ...] = ()
    ephemeral: bool = False

    def command(self, text: str) -> str:
        """The text with these flags in each of its commands; what is no command of ours stays as it is.

        A flag that the command has already (`--max-duration=55m`) takes the place of the one that was given; one
        without a value (`--metrics-match=`) takes it away.
        """
        parts = (_COMMAND.sub(self._repeated, part) for part in text.split(", or "))
        return ", or ".join(dict.fromkeys(parts))

    def _repeated(self, found: re.Match[str]) -> str:
        verb, target, flags = found["verb"], found["target"].strip(), found["flags"]
        if self.ephemeral and verb not in (*_ASSIGNED, _EVIDENCE):
            verb, target, flags = "plan", namespace_of(target) or "NAMESPACE", ""
        reading = [word for word in self.assignment if verb == _EVIDENCE and word.startswith(_READING)]
        more = (*self.cluster, *(self.assignment if verb in _ASSIGNED else reading))
        said = set(re.findall(r" (--[a-z][\w-]*)", flags))
        flags = re.sub(r" --[a-z][\w-]*=(?= |$)", "", flags)
        repeated = "".join(f" {word}" for word in more if word.partition(" ")[0] not in said)
        return " ".join(["rollout", verb, *([target] if target else [])]) + flags + repeated


def namespace_of(name: str) -> str:
    """The namespace that a run's id begins with, or the name itself."""
    as_id = _RUN.fullmatch(name)
    return as_id[1] if as_id else name


def is_command(text: str) -> bool:
    """It can be typed as it stands."""
    return text.startswith(("rollout ", "kubectl ")) and ", " not in _QUOTED.sub("", text)


def words(command: str) -> list[str]:
    """The command's words with their quotes kept, a flag together with its value."""
    return re.findall(rf"--\S+ (?!--){_WORD}|{_WORD}", command)


def parted(text: str) -> Iterator[tuple[str, bool]]:
    """What a fix consists of, in order: prose, and commands (True) with the punctuation behind them."""
    at = 0
    for found in _TYPED.finditer(text):
        yield from ((said, False) for said in [text[at : found.start()].strip()] if said)
        yield found[0].strip(), True
        at = found.end()
    yield from ((said, False) for said in [text[at:].strip()] if said)
