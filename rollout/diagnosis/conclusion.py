"""The end of a diagnosis: the likeliest cause in one sentence, its evidence, and the one deed that helps."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.checks.words import many
from rollout.errors import Outcome
from rollout.model.diagnosis import Diagnosis, Layer, LayerResult
from rollout.model.finding import Finding, Severity, Status

_NUMBERS = {layer: number for number, layer in enumerate(Layer, 1)}


def conclude(subject: str, layers: Sequence[LayerResult]) -> Diagnosis:
    """What blocks now goes before what STRICT would refuse, and an earlier layer before a later one."""
    blocking = [(layer, finding) for layer in layers for finding in layer.findings if finding.blocks]
    chosen = next((pair for pair in blocking if not pair[1].new), next(iter(blocking), None))
    if chosen is None:
        return Diagnosis(
            subject=subject, sentence=_none(subject, layers), evidence=_warned(layers), layers=tuple(layers)
        )
    layer, finding = chosen
    more = len(blocking) - 1
    return Diagnosis(
        subject=subject,
        sentence=_sentence(finding),
        evidence=(
            *((f"limit: {finding.limit}",) if finding.limit else ()),
            *finding.where,
            *((f"and {more} more in the layers",) if more else ()),
        ),
        fix=finding.fix,
        cause=layer.layer,
        layers=tuple(layers),
    )


def outcome(diagnosis: Diagnosis) -> Outcome:
    """DONE: nothing found and everything seen; BLOCKED: a cause; CANNOT_SEE: some layer could not be read."""
    if diagnosis.cause is not None:
        return Outcome.BLOCKED
    unseen = any(layer.status is Status.UNKNOWN for layer in diagnosis.layers)
    return Outcome.CANNOT_SEE if unseen else Outcome.DONE


def number(layer: Layer) -> int:
    """Its place in the order in which one looks, from 1."""
    return _NUMBERS[layer]


def _sentence(finding: Finding) -> str:
    place = f"{finding.ref} {finding.field}".strip()
    because = f" ({finding.where[0]})" if finding.where else ""
    accepted = "; accepted now, STRICT would refuse it" if finding.new else ""
    return f"{place}: {finding.measured}{because}{accepted}"


def _none(subject: str, layers: Sequence[LayerResult]) -> str:
    unseen = [layer.layer.value for layer in layers if layer.status is Status.UNKNOWN]
    skipped = [layer.layer.value for layer in layers if layer.status is Status.SKIPPED]
    if unseen:
        return f"{subject}: no cause found, but not everything could be read: {', '.join(unseen)}"
    left = f" (skipped: {', '.join(skipped)})" if skipped else ""
    warning = next((f for layer in layers for f in layer.findings if f.severity is Severity.WARNING), None)
    but = f"; but {_sentence(warning)}" if warning is not None else ""
    return f"{subject}: mutual TLS works here, all layers pass{left}{but}"


def _warned(layers: Sequence[LayerResult]) -> tuple[str, ...]:
    """Why a layer is unknown, then what is worth a look."""
    reasons = tuple(f"{layer.layer.value}: {layer.reason}" for layer in layers if layer.status is Status.UNKNOWN)
    warnings = [f for layer in layers for f in layer.findings if f.severity is Severity.WARNING]
    return (*reasons, *((f"{many(len(warnings), 'warning')} in the layers",) if warnings else ()))
