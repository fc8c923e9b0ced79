"""What labels of different datasets have to do with each other, by one table: `terms.toml`."""

from __future__ import annotations

import importlib.resources
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from harness.text import agree

TABLE = "terms.toml"


@dataclass(frozen=True, kw_only=True)
class Term:
    """What a label stands for, whatever a dataset calls it."""

    name: str
    made_of: tuple[str, ...] = ()
    """Terms that it is exactly the union of."""
    under: tuple[str, ...] = ()
    """Terms that it is a kind of."""
    caution: str = ""
    """What to know before numbers of two datasets are compared."""


@dataclass(frozen=True)
class Terms:
    """The whole table."""

    terms: Mapping[str, Term]
    labels: Mapping[str, Mapping[str, str]]
    """Dataset -> its labels -> their terms."""


@dataclass(frozen=True, kw_only=True)
class LabelMatch:
    """One label of a dataset, and what another has for it."""

    label: str
    term: str
    """Empty where the table does not know the label."""
    others: tuple[str, ...] = ()
    """The other dataset's labels that stand for it: present where any of them is, absent where all are. None where
    there is no such label: then nothing is known of it there, which is not that it is absent."""
    caution: str = ""
    reason: str = ""
    """Why there is none, in words."""


@dataclass(frozen=True)
class LabelMatches:
    """How the labels of one dataset meet those of another."""

    matches: tuple[LabelMatch, ...]
    unused: tuple[str, ...]
    """The other dataset's labels that stand for none."""

    @property
    def met(self) -> tuple[LabelMatch, ...]:
        """The labels that both have."""
        return tuple(match for match in self.matches if match.others)


@cache
def read_terms() -> Terms:
    """Read the table, checking nothing: a test holds it together."""
    text = (importlib.resources.files("harness.data") / TABLE).read_text(encoding="utf-8")
    table = tomllib.loads(text)
    terms = {
        name: Term(
            name=name,
            made_of=tuple(entry.get("made_of", ())),
            under=tuple(entry.get("under", ())),
            caution=entry.get("caution", ""),
        )
        for name, entry in table["terms"].items()
    }
    labels = {**table["labels"], **{name: table["labels"][other] for name, other in table["same"].items()}}
    return Terms(terms, labels)


def match_labels(
    dataset: str, other: str, labels: Sequence[str] | None = None, other_labels: Sequence[str] | None = None
) -> LabelMatches:
    """Find for each label of a dataset those of another dataset that stand for it.

    Labels are those given, or all that the table has for the dataset; a label that it does not have for the dataset is
    looked for among all names there are, whatever their case, spaces and underscores. One that the table does not know
    at all is met by the other dataset's label of the same name, if the table does not know that either. Labels of the
    other dataset are merged where the term is exactly their union, never where they are only some kinds of it.
    """
    known = read_terms()
    ours = list(labels if labels is not None else known.labels.get(dataset, ()))
    theirs = list(other_labels if other_labels is not None else known.labels.get(other, ()))
    by_term: dict[str, list[str]] = {}
    for label in theirs:
        by_term.setdefault(find_term(label, other), []).append(label)
    unknown = {_plain(label): label for label in by_term.pop("", ())}
    matches = tuple(
        _match_name(label, unknown) or _match(label, find_term(label, dataset), other, by_term, known) for label in ours
    )
    used = {label for match in matches for label in match.others}
    return LabelMatches(matches, tuple(label for label in theirs if label not in used))


def find_term(label: str, dataset: str) -> str:
    """The term that a label stands for; empty where the table does not know it."""
    known = read_terms()
    own = known.labels.get(dataset, {})
    if label in own:
        return own[label]
    names = {_plain(term): term for term in known.terms}
    names |= {_plain(name): term for labels in known.labels.values() for name, term in labels.items()}
    return names.get(_plain(label), "")


def _plain(name: str) -> str:
    return re.sub(r"[\s_/-]+", " ", name).strip().casefold()


def _match_name(label: str, unknown: Mapping[str, str]) -> LabelMatch | None:
    """A label that the table does not know, found by its name alone among those of the other that it does not know."""
    other = unknown.get(_plain(label))
    return None if other is None else LabelMatch(label=label, term="", others=(other,))


def _match(label: str, name: str, other: str, by_term: Mapping[str, list[str]], known: Terms) -> LabelMatch:
    if not name:
        return LabelMatch(label=label, term="", reason="the table of terms does not know this label")
    term = known.terms[name]
    if name in by_term:
        return LabelMatch(label=label, term=name, others=tuple(by_term[name]), caution=term.caution)
    if term.made_of and all(part in by_term for part in term.made_of):
        merged = tuple(one for part in term.made_of for one in by_term[part])
        return LabelMatch(label=label, term=name, others=merged, caution=term.caution)
    return LabelMatch(label=label, term=name, reason=_explain(term, other, by_term, known))


def _explain(term: Term, other: str, by_term: Mapping[str, list[str]], known: Terms) -> str:
    """Why another dataset has nothing for a term, with what comes near to it."""
    wider = [one for part in term.under for one in by_term.get(part, ())]
    wider += [one for name in known.terms if term.name in known.terms[name].made_of for one in by_term.get(name, ())]
    narrower = [
        one for name in by_term if term.name in known.terms[name].under or name in term.made_of for one in by_term[name]
    ]
    if wider:
        return f"{other} has only {' and '.join(wider)}, which is wider"
    if narrower:
        kinds = agree(len(narrower), "is only a kind of it", "are some kinds of it")
        return f"{other} has only {', '.join(narrower)}, which {kinds}"
    return f"{other} has no label for it"
