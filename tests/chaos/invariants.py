"""What must hold after any storm: each a sentence, and SQL that finds whatever breaks it. No rows, or a bug.

The same SQL runs on SQLite and PostgreSQL. Beside Tenure's own tables stand those of `truth.py`: `told`,
`pause`, `bystander`, `wire` (the provider's own log of DELETEs), `remaining` (what the provider still has)
and `entry` (the audit log).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

NOTHING_IS_LOST: Mapping[str, str] = {
    "a registration that was answered is in the registry, with all that was given": """
        select t.external_id from told t left join thread r on r.id = t.thread_id
        where r.id is null or r.external_id <> t.external_id or r.project <> t.project or r.kind <> t.kind""",
    "every thread is in a state that there is": """
        select id, state from thread
        where state not in ('live', 'deleted', 'absent', 'acknowledged', 'parked', 'withdrawn')""",
    "what is due, and protected by nobody, has come to its end": """
        select r.id, t.fate, r.state, r.reason from told t join thread r on r.id = t.thread_id
        where (t.fate = 'due' or t.fate = 'held' and t.held_at is null or t.fate = 'erased' and t.ordered = 1)
          and r.state <> 'deleted'
           or t.fate = 'vanished' and r.state <> 'absent'""",
    "what is young, kept, nearly due, withdrawn or was never ordered is as it was": """
        select r.id, t.fate, r.state from told t join thread r on r.id = t.thread_id
        where t.fate in ('young', 'kept', 'nearly') and r.state <> 'live'
           or t.fate = 'erased' and t.ordered = 0 and r.state <> 'live'
           or t.fate = 'withdrawn' and t.withdrawn_at is not null and r.state <> 'withdrawn'""",
    "no work is left open": """
        select id, state, reason from work_item where state in ('planned', 'claimed', 'waiting')""",
    "no sweep stands still half made": """
        select id, state from sweep where state in ('planning', 'releasing')""",
    "every line of a released plan became work, unless its thread was protected or withdrawn first": """
        select p.sweep_id, p.thread_id from sweep_plan p join sweep s on s.id = p.sweep_id
        join told t on t.thread_id = p.thread_id
        where s.state in ('released', 'done') and t.held_at is null and t.withdrawn_at is null
          and not exists (select 1 from work_item w where w.thread_id = p.thread_id)""",
    "what is parked says why": """
        select id from thread where state = 'parked' and (reason is null or grade is null)""",
}

NOTHING_IS_DELETED_BY_SURPRISE: Mapping[str, str] = {
    "no DELETE of a thread reached the provider without an intent of its own": """
        select w.external_id, count(*) from wire w join told t on t.external_id = w.external_id
        where w.child is null group by w.external_id, t.thread_id
        having count(*) > (
          select count(*) from attempt a
          where a.thread_id = t.thread_id and a.stage = 'container'
            and (a.answer is null or a.answer <> 'unsent'))""",
    "no DELETE of a child reached the provider without an intent for the children": """
        select w.external_id from wire w join told t on t.external_id = w.external_id
        where w.child is not null and not exists (
          select 1 from attempt a where a.thread_id = t.thread_id and a.stage = 'children')""",
    "no child got more DELETEs than its thread was armed for the children": """
        select w.child, count(*) from wire w join told t on t.external_id = w.external_id
        where w.child is not null group by w.child, t.thread_id
        having count(*) > (
          select count(*) from entry e
          where e.subject = t.thread_id and e.type = 'delete.intended' and e.stage = 'children')""",
    "every intent is an entry, with its fence, and every entry an intent": """
        select a.item_id, a.fence, a.stage from attempt a
        where not exists (
          select 1 from entry e where e.type = 'delete.intended'
            and e.item = a.item_id and e.fence = a.fence and e.stage = a.stage)
        union all
        select e.item, e.fence, e.stage from entry e
        where e.type = 'delete.intended' and not exists (
          select 1 from attempt a where a.item_id = e.item and a.fence = e.fence and a.stage = e.stage)""",
    "no fence is higher than its item's, and every armed item was claimed": """
        select a.item_id, a.fence from attempt a join work_item w on w.id = a.item_id
        where a.fence > w.fence or a.fence < 1""",
    "nothing is deleted before it is due, whatever the clocks say": """
        select w.external_id, t.fate, w.at - t.due_at
        from wire w join told t on t.external_id = w.external_id
        where w.at < t.due_at""",
    "nothing that a rule keeps is deleted": """
        select w.external_id from wire w join told t on t.external_id = w.external_id
        where t.fate = 'kept'""",
    "no DELETE leaves after a hold was answered": """
        select w.external_id, w.at - t.held_at from wire w join told t on t.external_id = w.external_id
        where t.held_at is not null and w.at > t.held_at""",
    "no DELETE leaves after a withdrawal was answered": """
        select w.external_id, w.at - t.withdrawn_at from wire w join told t on t.external_id = w.external_id
        where t.withdrawn_at is not null
          and (w.at > t.withdrawn_at or w.status is null
            or w.status not in (401, 403, 404, 405, 410, 429))""",
    "no DELETE leaves while deletes are paused": """
        select w.external_id, w.at - p.begun from wire w join told t on t.external_id = w.external_id
        join pause p on p.project = t.project where w.at > p.begun and w.at < p.ended""",
    "what nobody registered is still there": """
        select b.external_id from bystander b left join remaining r on r.external_id = b.external_id
        where r.external_id is null
        union all
        select w.external_id from wire w join bystander b on b.external_id = w.external_id""",
    "what Tenure has no right to delete is still there": """
        select t.external_id, t.fate from told t left join remaining r on r.external_id = t.external_id
        where (t.fate in ('young', 'kept', 'nearly', 'retired', 'astray')
               or t.fate = 'erased' and t.ordered = 0 or t.withdrawn_at is not null)
          and r.external_id is null""",
}

NOTHING_IS_CERTIFIED_THAT_IS_NOT_SO: Mapping[str, str] = {
    "what is called deleted is gone at the provider": """
        select r.id, r.grade from thread r join remaining p on p.external_id = r.external_id
        where r.state in ('deleted', 'absent') and r.project <> 'chaos-astray'""",
    "what is called deleted was deleted by Tenure": """
        select r.id, r.grade from thread r where r.state = 'deleted' and not exists (
          select 1 from wire w where w.external_id = r.external_id and w.child is null
            and (w.status = 200 or w.fault in ('lost-reply', 'error-after', 'timeout-after')))""",
    "what is confirmed had an answer that the provider did give": """
        select r.id from thread r where r.grade = 'confirmed' and not exists (
          select 1 from entry e join wire w on w.request_id = e.request_id
          where e.type = 'delete.answered' and e.subject = r.id and w.status = 200
            and w.external_id = r.external_id)""",
    "what is inferred had a DELETE whose answer was lost or unclear": """
        select r.id from thread r where r.grade = 'inferred' and not exists (
          select 1 from attempt a where a.thread_id = r.id and a.stage = 'container'
            and (a.answer is null or a.answer in ('lost', 'error', 'malformed')))""",
    "what is called absent was not deleted by Tenure": """
        select r.id from thread r join told t on t.thread_id = r.id
        where r.state = 'absent' and (t.fate <> 'vanished' or exists (
          select 1 from wire w where w.external_id = r.external_id))""",
    "what is gone at the provider is called so, or protected since": """
        select r.id, t.fate, r.state, r.grade from thread r join told t on t.thread_id = r.id
        left join remaining p on p.external_id = r.external_id
        where p.external_id is null and r.state not in ('deleted', 'absent')
          and not (t.held_at is not null and exists (
            select 1 from attempt a where a.thread_id = r.id and a.stage = 'container'))
          and t.fate <> 'vanished'""",
    "nothing of a retired endpoint or a foreign account is called deleted or absent": """
        select r.id, r.state, r.grade from thread r join told t on t.thread_id = r.id
        where t.fate in ('retired', 'astray')
          and (r.state <> 'parked' or r.grade not like 'unverifiable%')""",
    "a grade that rests on a 404 names its control": """
        select idx, subject, grade from entry
        where type = 'thread.graded' and grade in ('absent', 'confirmed', 'inferred', 'sustained')
          and control = 0""",
    "no thread has two ends": """
        select subject, count(*) from entry
        where type = 'thread.graded' and grade in ('absent', 'confirmed', 'inferred', 'sustained')
        group by subject having count(*) > 1""",
    "an end was written under the fence that the item has, and the thread's grade is its entry's": """
        select e.subject, e.item, e.fence from entry e
        where e.type = 'thread.graded' and e.grade in ('absent', 'confirmed', 'inferred', 'sustained')
          and not exists (
            select 1 from work_item w join thread r on r.id = w.thread_id
            where w.id = e.item and w.fence = e.fence and w.state = 'done'
              and r.id = e.subject and r.grade = e.grade)""",
    "every deleted thread has its entry": """
        select r.id, r.grade from thread r where r.state = 'deleted' and not exists (
          select 1 from entry e where e.type = 'thread.graded' and e.subject = r.id
            and e.grade = r.grade and r.grade in ('confirmed', 'inferred', 'sustained'))""",
    "every answer in the log is one that the provider gave to that very request": """
        select e.idx, e.subject from entry e join told t on t.thread_id = e.subject
        where e.type = 'delete.answered' and e.stage = 'container' and e.request_id is not null
          and not exists (
            select 1 from wire w where w.request_id = e.request_id and w.external_id = t.external_id)""",
}

THE_LOG_IS_WHOLE: Mapping[str, str] = {
    "the head counts every leaf, and no index is missing": """
        select h.size from audit_head h
        where h.size <> (select count(*) from audit_leaf)
           or h.size <> (select max(idx) + 1 from audit_leaf)""",
    "every leaf has its body": """
        select l.idx from audit_leaf l left join audit_body b on b.idx = l.idx where b.idx is null""",
    "every registration is an entry, once": """
        select r.id from thread r where 1 <> (
          select count(*) from entry e where e.type = 'thread.registered' and e.subject = r.id)""",
    "an answer comes after its intent": """
        select a.idx from entry a where a.type = 'delete.answered' and not exists (
          select 1 from entry i where i.type = 'delete.intended' and i.item = a.item and i.fence = a.fence
            and i.stage = a.stage and i.idx < a.idx)""",
    "no checkpoint covers more than there is": """
        select c.size from audit_checkpoint c, audit_head h where c.size > h.size""",
    "one sweep per policy and slot": """
        select policy, slot from sweep group by policy, slot having count(*) > 1""",
}

ALL: Mapping[str, str] = {
    **NOTHING_IS_LOST,
    **NOTHING_IS_DELETED_BY_SURPRISE,
    **NOTHING_IS_CERTIFIED_THAT_IS_NOT_SO,
    **THE_LOG_IS_WHOLE,
}


def broken(db: Connection) -> dict[str, Sequence[Any]]:
    """Run all of them; returns those that found rows, with the first rows."""
    found = {name: db.execute(text(sql)).fetchmany(5) for name, sql in ALL.items()}
    return {name: rows for name, rows in found.items() if rows}
