"""Every problem code, with its title and what to do; `/docs/problems/<code>` serves these lines."""

from __future__ import annotations

from collections.abc import Mapping

_ASK = "Send `Authorization: Bearer tnr_…` with a key that stands; `tenure keys create` makes one."

# code: (title, what to do about it)
CATALOGUE: Mapping[str, tuple[str, str]] = {
    "already_released": ("The hold is released already", "Place a new hold if it must stand again."),
    "already_revoked": ("The key is revoked already", "Nothing is left to do."),
    "ambiguous_id": ("Several threads have this external id", "Use Tenure's own id (`thr_…`) instead."),
    "answer_not_kept": (
        "This was done, and its answer was not kept",
        "The detail says why, and where to look instead; a new Idempotency-Key would do it once more.",
    ),
    "bad_glob": (
        "A pattern is not a glob",
        "`*` is any run of characters and `?` one; nothing else is special.",
    ),
    "body_refused": ("This is too much to record", "Send shorter texts, or fewer tags or children."),
    "conflict": ("Registered with other values", "`diff` lists the fields that differ; nothing was changed."),
    "created_at_incredible": (
        "No thread can be that old",
        "Give an instant since 2020 that does not lie ahead.",
    ),
    "created_at_known": (
        "When the thread was created is known",
        "It is set once; what the provider says is taken over when the thread is read.",
    ),
    "duties_not_separate": ("One key must not hold both", "Make two keys for two people."),
    "empty_scope": ("The scope names nothing", "Give ids, owners, projects or tags."),
    "error": ("The request was refused", "The detail says why."),
    "export_expired": ("The export's file is gone", "It is kept for 24 hours: ask for the export anew."),
    "export_not_ready": (
        "There is no file to fetch",
        "Read the export until it is `ready`; one that failed says why.",
    ),
    "bundle_unreadable": (
        "The policies in force were written by another version",
        "Run the version that put them in force here too.",
    ),
    "forbidden": ("The key lacks a scope", "Use a key with one of the scopes that the detail names."),
    "gateway_id": (
        "A gateway made this id",
        "Register the provider's own id; the detail says how to find it.",
    ),
    "guard_blocks": (
        "A guard blocks the plan by now",
        "Approve it when the guard's window has passed, or sweep anew.",
    ),
    "headers_too_large": (
        "The address and the headers are too long",
        "16 KiB is the limit for both together; a long list belongs into a body.",
    ),
    "held": (
        "A hold must not lose this thread",
        "Only a release ends a hold; until then leave the owner and tags that it matches.",
    ),
    "idempotency_key_in_use": (
        "The first request with this Idempotency-Key is not answered yet",
        "Send it again after `Retry-After` seconds, with the same key.",
    ),
    "idempotency_key_reused": (
        "This Idempotency-Key came before with another request",
        "Make a new key for each thing to be done, and keep it for sending that again only.",
    ),
    "if_match_required": ("A change needs If-Match", "Read the thread and send its `ETag` in `If-Match`."),
    "in_flight": ("A DELETE may have left", "Look at the thread's evidence in a moment."),
    "incredible_at": ("Activity cannot lie there", "Leave `at` out, or give an instant from 2020 until now."),
    "internal": (
        "Something broke inside Tenure",
        "Tell whoever runs it the request id; nothing more is told here.",
    ),
    "invalid": ("A field or parameter is not valid", "`errors` points to each place that must change."),
    "invalid_child": (
        "This cannot go with it as a child",
        "A thread names files and vector stores, a vector store files.",
    ),
    "invalid_id": (
        "No provider id looks like this",
        "After the prefix come 1 to 128 of A-Z a-z 0-9 _ and -.",
    ),
    "invalid_ttl": ("The TTL is not a duration", "Write `30d`, `12h`, `4w` or ISO 8601 such as `P30D`."),
    "key_ended": ("The key has ended already", "Make a new one; only a key that stands has a successor."),
    "malformed_gzip": ("The body is not whole gzip", "Compress it anew, or send it plain."),
    "malformed_idempotency_key": (
        "The Idempotency-Key is not one text in double quotes",
        'Send `Idempotency-Key: "<a new UUID>"` once: at most 255 visible characters and blanks.',
    ),
    "malformed_json": ("The body is not JSON", "Send one JSON object in UTF-8."),
    "malformed_request": (
        "This is no HTTP request",
        "Its first line or a header breaks the rules of HTTP/1.1; a proxy or a client by hand may be why.",
    ),
    "method_not_allowed": ("This route has no such method", "The `Allow` header lists those that it has."),
    "no_approval_needed": (
        "Nothing here waits for an approval",
        "What loosens nothing goes in force by itself; a bundle approved before must be previewed anew.",
    ),
    "no_bundle": (
        "No policies are in force yet",
        "Put them into TENURE_POLICIES and start beat; then try again.",
    ),
    "not_approvable": (
        "The sweep waits for no such approval",
        "Approve a waiting sweep by the digest it shows.",
    ),
    "not_found": ("Nothing is there", "Check the path and the id; a key sees its own projects only."),
    "not_live": ("The thread is not live", "Only live threads can be changed or withdrawn."),
    "not_recomputed": ("New policies are being applied", "Try again in a moment."),
    "own_proposal": (
        "Whoever proposed a bundle cannot approve it",
        "Another key with `plans:approve` and every project must do it.",
    ),
    "policies_refused": (
        "The policy files are refused",
        "`errors` names each file and line; `tenure policy validate` shows the same with the repair.",
    ),
    "preview_void": (
        "The preview says nothing about now",
        "Preview the bundle anew: it was previewed later, is over 72 hours old, or its base has changed.",
    ),
    "project_bound": ("This needs a key for every project", "Use a key whose projects are `*`."),
    "registered_elsewhere": (
        "Another project registered this",
        "Ask whoever runs Tenure which one answers for it.",
    ),
    "retained": (
        "A legal retain rule must not lose this thread",
        "Leave the owner and tags that it matches, and tell no date that ends it before registration would.",
    ),
    "schema_outdated": (
        "The database is at another version",
        "Run `tenure db upgrade`; where the database is the newer one, run that version of Tenure.",
    ),
    "stale": ("The thread was changed since it was read", "Read it again and send its new `ETag`."),
    "too_large": ("The body is too large", "1 MiB is the limit, 4 MiB for a preview, 64 MiB in bulk."),
    "too_many_exports": (
        "This key has enough exports",
        "At most 3 are under way and 20 kept: wait for `Retry-After`, or until the oldest expires.",
    ),
    "too_many_requests": (
        "Too many requests in a short time",
        "Come back after `Retry-After` seconds; `RateLimit` tells what is left. Holds are never counted.",
    ),
    "too_slow": ("The body did not go on", "Send it whole; after 20 seconds without any of it nobody waits."),
    "ttl_beyond_policy": (
        "The TTL outlasts a delete rule",
        "Give a shorter one, or null: then the rules alone decide.",
    ),
    "unauthorized": ("There is no valid API key", _ASK),
    "unavailable": (
        "A service that Tenure needs does not answer",
        "Try again after the time in `Retry-After`.",
    ),
    "unknown_kind": ("The prefix is not one of a known kind", "Give `kind` for an agent_session."),
    "unknown_project": ("No such project is known", "Name a Project document of the policies folder."),
    "unsupported_media_type": ("The body has another type", "Send `application/json`, in bulk x-ndjson."),
    "wider_than_own": (
        "No key hands out a scope that it lacks",
        "Use a key that has these scopes, or `tenure keys` beside the database, without TENURE_URL.",
    ),
    "wrong_digest": (
        "The digest is another bundle's",
        "Approve by the digest that the preview shows, after looking at that preview.",
    ),
    "wrong_kind": ("The id belongs to something else", "Register the object that holds the conversation."),
}


def title_of(code: str) -> str:
    """Return the title of a code; one that is not listed is told as a plain refusal."""
    return CATALOGUE.get(code, CATALOGUE["error"])[0]
