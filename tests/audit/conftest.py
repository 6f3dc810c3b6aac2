"""A small log of two projects in which every grade occurs, and a writer for bundles of it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.audit import bodies
from worker.audit.bodies import Graded, Intent, Tried
from worker.audit.bundle import Scope, write_bundle
from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.entry import BodyRefused, Entry, instant
from worker.audit.envelope import (
    Leaf,
    canonical,
    make_leaf,
    owner_commitment,
    project_pseudonym,
    subject_pseudonym,
)
from worker.audit.findings import Report
from worker.audit.merkle import leaf_hash, root_of
from worker.audit.note import Ed25519Signer
from worker.audit.verify import verify_bundle
from worker.model.decision import Decision, Hold, HoldScope, Outcome
from worker.model.evidence import (
    Children,
    Class,
    Control,
    Observation,
    Pass,
    Reread,
    Step,
    fold,
    grade,
)
from worker.model.ids import HoldId, ThreadId
from worker.model.thread import Account, Kind, Thread
from worker.model.work import Stage

PSEUDONYM_KEY = b"k" * 32
START = datetime(2026, 11, 1, tzinfo=UTC)
PROJECT = "support-eu"
ACTOR = "worker tenure/0"
POLICIES = '{"policies":["support-30d"]}'
DIGEST = "sha256:" + hashlib.sha256(POLICIES.encode()).hexdigest()
GONE = (Class.OBJECT_ABSENT, Control.GOOD)

# name -> (passes, a later read)
STORIES: dict[str, tuple[tuple[Pass, ...], Reread | None]] = {
    "confirmed": ((Pass(before=Class.PRESENT, armed=True, answer=Class.ACKNOWLEDGED, afters=(GONE,)),), None),
    "crash": (
        (
            Pass(before=Class.PRESENT, armed=True),
            Pass(before=Class.OBJECT_ABSENT, control=Control.GOOD),
        ),
        None,
    ),
    "absent": ((Pass(before=Class.OBJECT_ABSENT, control=Control.GOOD),), None),
    "partial": ((Pass(before=Class.PRESENT, children=Children.SOME),), None),
    "retired": ((Pass(before=Class.ROUTE_ABSENT, control=Control.FAILED),), None),
    "unseen": (
        (
            Pass(
                before=Class.PRESENT,
                armed=True,
                answer=Class.ACKNOWLEDGED,
                afters=((Class.ERROR, Control.NONE),),
            ),
        ),
        None,
    ),
    "sustained": (
        (Pass(before=Class.PRESENT, armed=True, answer=Class.ACKNOWLEDGED, afters=(GONE,)),),
        Reread(seen=Class.OBJECT_ABSENT, control=Control.GOOD),
    ),
}


def _thread(name: str, project: str) -> Thread:
    return Thread(
        id=ThreadId(f"thr_{name}"),
        kind=Kind.CONVERSATION,
        external_id=f"conv_{name}",
        project=project,
        owner="=cmd|' /C calc'!A0" if name == "confirmed" else "team-ü",
        registered_at=START,
        tags={"env": "prod", "Ключ": "+1"},
        account=Account(provider="openai", base_url="https://api.openai.com/v1"),
    )


# With which status a provider says so; 200 else.
_STATUSES = {
    Class.OBJECT_ABSENT: 404,
    Class.ROUTE_ABSENT: 404,
    Class.DENIED: 403,
    Class.THROTTLED: 429,
    Class.ERROR: 500,
    Class.LOST: None,
    Class.UNSENT: None,
}


def _seen(step: Step, seen: Class, at: datetime, subject: str = "") -> Observation:
    status = _STATUSES.get(seen, 200)
    return Observation(step=step, seen=seen, at=at, subject=subject, status=status, request_id="req_1")


def _observations(passes: Sequence[Pass], at: datetime) -> list[Observation]:
    made = []
    for one in passes:
        made.append(_seen(Step.BEFORE, one.before, at))
        if one.answer is not Class.NONE:
            made.append(_seen(Step.DELETE, one.answer, at))
        made += [_seen(Step.AFTER, after, at) for after, _ in one.afters]
        if Control.GOOD in {one.control, *(control for _, control in one.afters)}:
            made.append(_seen(Step.CONTROL, Class.PRESENT, at, "conv_sibling"))
    return made


def _story(thread: Thread, passes: Sequence[Pass], reread: Reread | None, at: datetime) -> list[Entry]:
    """Return what Tenure appends: of each pass what was armed, answered and read, and the grade."""
    made = [bodies.thread_registered(thread, at=at, actor="key:1")]
    tried = [Tried(item="itm_1", fence=fence, saw=one) for fence, one in enumerate(passes, 1)]
    for one in tried:
        made += _tried(thread, one, at)
    made.append(_graded(thread, tried, None, at))
    if reread is not None:
        later = at + timedelta(days=1)
        last = replace(tried[-1], saw=Pass(afters=((reread.seen, reread.control),)))
        made += _read_again(thread, last, later, Step.REREAD)
        made.append(_graded(thread, tried, reread, later))
    return made


def _tried(thread: Thread, one: Tried, at: datetime) -> list[Entry]:
    made: list[Entry] = []
    told: dict[str, Any] = {"item": one.item, "fence": one.fence, "at": at, "actor": ACTOR}
    if one.saw.armed:
        intent = Intent(
            item=one.item,
            fence=one.fence,
            stage=Stage.CONTAINER,
            sweep="swp_1",
            policy="support-30d",
            decision=Decision(outcome=Outcome.DUE, decided_by="support-30d", bundle=DIGEST),
            before=_seen(Step.BEFORE, one.saw.before, at),
            protection_version=1,
        )
        made.append(bodies.delete_intended(thread, intent, at=at, actor=ACTOR))
        if one.saw.answer is not Class.NONE:
            answer = _seen(Step.DELETE, one.saw.answer, at)
            made.append(bodies.delete_answered(thread, stage=Stage.CONTAINER, answer=answer, **told))
    else:
        made.append(bodies.thread_preread(thread, seen=_seen(Step.BEFORE, one.saw.before, at), **told))
    return [*made, *_read_again(thread, one, at)]


def _read_again(thread: Thread, one: Tried, at: datetime, step: Step = Step.AFTER) -> list[Entry]:
    made = []
    for seen, control in one.saw.afters:
        made.append(
            bodies.thread_reread(
                thread,
                item=one.item,
                fence=one.fence,
                seen=_seen(step, seen, at),
                control=control,
                at=at,
                actor=ACTOR,
            )
        )
        if control is not Control.NONE:
            probe = _seen(Step.CONTROL, Class.PRESENT, at, "conv_sibling")
            made.append(
                bodies.control_probed(
                    thread.project,
                    kind=thread.kind,
                    control=control,
                    seen=[probe],
                    supports=[thread.id],
                    at=at,
                    actor=ACTOR,
                )
            )
    return made


def _graded(thread: Thread, tried: Sequence[Tried], reread: Reread | None, at: datetime) -> Entry:
    passes = [one.saw for one in tried]
    graded = Graded(
        item="itm_1",
        fence=len(tried),
        sweep="swp_1",
        policy="support-30d",
        bundle=DIGEST,
        grade=grade(fold(passes, reread=reread)),
        tried=tried,
        observations=_observations(passes, at),
        deletion_semantics="Items may remain up to 30 days.",
        attempts=sum(one.armed for one in passes),
        credential="env:OPENAI_API_KEY",
        reread=reread,
        eligible_at=at,
    )
    return bodies.thread_graded(thread, graded, at=at, actor=ACTOR)


@pytest.fixture(scope="session")
def entries() -> list[Entry]:
    """Every story for the exported project, in between a foreign project and entries of none."""
    hold = Hold(id=HoldId("hld_1"), matter="M-1", scope=HoldScope(ids=("thr_other",)))
    made = [bodies.bundle_activated(DIGEST, previous=None, policies=1, at=START, actor="beat tenure/0")]
    for day, (name, (passes, reread)) in enumerate(STORIES.items()):
        at = START + timedelta(days=day, microseconds=7)
        made += _story(_thread(name, PROJECT), passes, reread, at)
        made += _story(_thread("other", "research"), *STORIES["confirmed"], at)
    made.append(
        bodies.hold_placed(
            hold,
            reason="dispute",
            matched=1,
            too_late=[],
            uncertain=[],
            at=START,
            actor="key:2",
            project=PROJECT,
        )
    )
    return made


def _leaf(entry: Entry, entry_id: str, salt: bytes) -> Leaf:
    try:
        return make_leaf(entry, entry_id=entry_id, salt=salt, pseudonym_key=PSEUDONYM_KEY)
    except BodyRefused:
        pass
    fields = {
        **entry.body,
        "actor": entry.actor,
        "project": entry.project,
        "salt": salt.hex(),
        "subject": entry.subject,
        "type": entry.type.value,
    }
    owner = entry.body.get("owner")
    if isinstance(owner, str):
        fields["owner_commitment"] = owner_commitment(salt, owner)
    body = canonical(fields)
    envelope = canonical(
        {
            "body": hashlib.sha256(body).hexdigest(),
            "id": entry_id,
            "project": entry.project and project_pseudonym(PSEUDONYM_KEY, entry.project),
            "subject": entry.subject and subject_pseudonym(PSEUDONYM_KEY, entry.subject),
            "t": instant(entry.at),
            "type": entry.type.value,
            "v": 1,
        }
    )
    return Leaf(envelope=envelope, body=body, hash=leaf_hash(envelope))


@pytest.fixture(scope="session")
def as_leaves() -> Callable[[Sequence[Entry]], list[Leaf]]:
    """Write entries with fixed ids and salts; one that Tenure would refuse is written as a liar would."""

    def made(entries: Sequence[Entry]) -> list[Leaf]:
        return [_leaf(entry, f"{n:032x}", n.to_bytes(16, "big")) for n, entry in enumerate(entries)]

    return made


@pytest.fixture(scope="session")
def leaves(entries: list[Entry], as_leaves: Callable[[Sequence[Entry]], list[Leaf]]) -> list[Leaf]:
    return as_leaves(entries)


@pytest.fixture(scope="session")
def signer() -> Ed25519Signer:
    return Ed25519Signer.from_seed("example.org/retention/test", b"\x07" * 32)


@pytest.fixture(scope="session")
def pseudonym() -> str:
    return project_pseudonym(PSEUDONYM_KEY, PROJECT)


@pytest.fixture(scope="session")
def bundled(signer: Ed25519Signer, pseudonym: str) -> Callable[[Sequence[Leaf]], bytes]:
    """Write the bundle of a log and return its bytes."""

    def made(leaves: Sequence[Leaf]) -> bytes:
        head = Checkpoint(origin=signer.name, size=len(leaves), root=root_of(one.hash for one in leaves))
        out = io.BytesIO()
        scope = Scope(
            project=PROJECT,
            pseudonym=pseudonym,
            window=(START, START + timedelta(days=60)),
            tool="tenure 0.1.0",
            made_at=START + timedelta(days=61),
        )
        write_bundle(
            out,
            scope=scope,
            checkpoint_note=sign_checkpoint(head, signer),
            vkeys=[signer.vkey],
            signer=signer,
            envelopes=(one.envelope for one in leaves),
            bodies=((n, one.body) for n, one in enumerate(leaves) if pseudonym.encode() in one.envelope),
            policies={DIGEST: POLICIES},
        )
        return out.getvalue()

    return made


@pytest.fixture(scope="session")
def whole(leaves: Sequence[Leaf], bundled: Callable[[Sequence[Leaf]], bytes]) -> bytes:
    return bundled(leaves)


@pytest.fixture
def check(tmp_path: Path, signer: Ed25519Signer) -> Callable[[bytes], Report]:
    def checked(raw: bytes) -> Report:
        path = tmp_path / "bundle.zip"
        path.write_bytes(raw)
        return verify_bundle(path, keys=[signer.vkey])

    return checked
