"""First tables.

Revision: 0001
Before:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("projects", _JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )
    op.create_table(
        "audit_body",
        sa.Column("idx", _BIG, autoincrement=False, nullable=False),
        sa.Column("project", sa.String(length=200), nullable=True),
        sa.Column("subject", sa.String(length=40), nullable=True),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("idx", name=op.f("pk_audit_body")),
    )
    with op.batch_alter_table("audit_body", schema=None) as batch_op:
        batch_op.create_index("ix_audit_body_project", ["project", "idx"], unique=False)
        batch_op.create_index("ix_audit_body_subject", ["subject", "idx"], unique=False)

    op.create_table(
        "audit_checkpoint",
        sa.Column("size", _BIG, autoincrement=False, nullable=False),
        sa.Column("news", sa.BigInteger(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("news", sa.BigInteger(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("pseudonym_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "audit_leaf",
        sa.Column("idx", _BIG, autoincrement=False, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("idx", name=op.f("pk_audit_leaf")),
    )
    op.create_table(
        "bundle",
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("canonical", sa.Text(), nullable=False),
        sa.Column("origin", _JSON, nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_bundle")),
    )
    op.create_table(
        "canary",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("external_id", sa.String(length=160), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("project", "kind", "external_id", name=op.f("pk_canary")),
    )
    op.create_table(
        "erasure",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=True),
        sa.Column("ids", _JSON, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ordered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ordered_by", sa.String(length=200), nullable=False),
        sa.Column("answer", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
    )
    op.create_table(
        "fact",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("value", _JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_fact")),
    )
    op.create_table(
        "hold",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("matter", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("scope", _JSON, nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("placed_by", sa.String(length=200), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.String(length=200), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.Column("answer", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    with op.batch_alter_table("hold", schema=None) as batch_op:
        batch_op.create_index(
            "ix_hold_active", ["placed_at"], unique=False, postgresql_where=sa.text("released_at is null")
        )

    op.create_table(
        "policy_since",
        sa.Column("policy", sa.String(length=200), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("policy", name=op.f("pk_policy_since")),
    )
    op.create_table(
        "protection",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_by", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_protection")),
    )
    op.create_table(
        "stopped_pair",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project", "kind", name=op.f("pk_stopped_pair")),
    )
    op.create_table(
        "sweep",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("policy", sa.String(length=200), nullable=False),
        sa.Column("slot", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("bundle", sa.String(length=80), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("plan_digest", sa.String(length=80), nullable=True),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("population", sa.Integer(), nullable=True),
        sa.Column("released", sa.Integer(), nullable=False),
        sa.Column("reasons", _JSON, nullable=False),
        sa.Column("cursor", sa.String(length=40), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ordered_by", sa.String(length=200), nullable=False),
        sa.Column("approved_by", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
        sa.UniqueConstraint("policy", "slot", name=op.f("uq_sweep_policy_slot")),
    )
    with op.batch_alter_table("sweep", schema=None) as batch_op:
        batch_op.create_index("ix_sweep_state", ["state"], unique=False)

    op.create_table(
        "thread",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("external_id", sa.String(length=160), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=False),
        sa.Column("tags", _JSON, nullable=False),
        sa.Column("ttl", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_activity_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("base_url", sa.String(length=400), nullable=False),
        sa.Column("organization", sa.String(length=200), nullable=False),
        sa.Column("provider_project", sa.String(length=200), nullable=False),
        sa.Column("children", _JSON, nullable=False),
        sa.Column("evaluate_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_policy", sa.String(length=200), nullable=True),
        sa.Column("evaluated_under", sa.String(length=80), nullable=True),
        sa.Column("grade", sa.String(length=40), nullable=True),
        sa.Column("evidence", _JSON, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reverify_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reverified", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_thread")),
        sa.UniqueConstraint(
            "project", "kind", "external_id", name=op.f("uq_thread_project_kind_external_id")
        ),
        sa.UniqueConstraint(
            "provider",
            "base_url",
            "organization",
            "provider_project",
            "kind",
            "external_id",
            name="uq_thread_registered_once",
        ),
    )
    with op.batch_alter_table("thread", schema=None) as batch_op:
        batch_op.create_index("ix_thread_due", ["state", "evaluate_at", "due_policy"], unique=False)
        batch_op.create_index("ix_thread_external_id", ["external_id"], unique=False)
        batch_op.create_index("ix_thread_owner", ["owner"], unique=False)
        batch_op.create_index("ix_thread_project", ["project", "kind", "state"], unique=False)
        batch_op.create_index(
            "ix_thread_reverify",
            ["reverify_at"],
            unique=False,
            postgresql_where=sa.text("reverify_at is not null"),
            sqlite_where=sa.text("reverify_at is not null"),
        )

    op.create_table(
        "bundle_in_force",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recompute_after", sa.String(length=40), nullable=True),
        sa.Column("recomputed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["bundle.digest"], name=op.f("fk_bundle_in_force_digest")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bundle_in_force")),
    )
    op.create_table(
        "erasure_thread",
        sa.Column("erasure_id", sa.String(length=40), nullable=False),
        sa.Column("thread_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["erasure_id"], ["erasure.id"], name=op.f("fk_erasure_thread_erasure_id")),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name=op.f("fk_erasure_thread_thread_id")),
        sa.PrimaryKeyConstraint("erasure_id", "thread_id", name=op.f("pk_erasure_thread")),
    )
    with op.batch_alter_table("erasure_thread", schema=None) as batch_op:
        batch_op.create_index("ix_erasure_thread_thread_id", ["thread_id"], unique=False)

    op.create_table(
        "notice",
        sa.Column("thread_id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("promised", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name=op.f("fk_notice_thread_id")),
        sa.PrimaryKeyConstraint("thread_id", "at", name=op.f("pk_notice")),
    )
    op.create_table(
        "sweep_plan",
        sa.Column("sweep_id", sa.String(length=40), nullable=False),
        sa.Column("thread_id", sa.String(length=40), nullable=False),
        sa.Column("eligible_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweep.id"], name=op.f("fk_sweep_plan_sweep_id")),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name=op.f("fk_sweep_plan_thread_id")),
        sa.PrimaryKeyConstraint("sweep_id", "thread_id", name=op.f("pk_sweep_plan")),
    )
    op.create_table(
        "work_item",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("sweep_id", sa.String(length=40), nullable=False),
        sa.Column("thread_id", sa.String(length=40), nullable=False),
        sa.Column("policy", sa.String(length=200), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("credential", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.String(length=200), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reads", sa.Integer(), nullable=False),
        sa.Column("rereads", sa.Integer(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("grade", sa.String(length=40), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweep.id"], name=op.f("fk_work_item_sweep_id")),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name=op.f("fk_work_item_thread_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_item")),
    )
    with op.batch_alter_table("work_item", schema=None) as batch_op:
        batch_op.create_index(
            "ix_work_item_due",
            ["credential", "next_at"],
            unique=False,
            postgresql_where=sa.text("state in ('planned', 'claimed', 'waiting')"),
            sqlite_where=sa.text("state in ('planned', 'claimed', 'waiting')"),
        )
        batch_op.create_index("ix_work_item_sweep", ["sweep_id", "state"], unique=False)
        batch_op.create_index(
            "uq_work_item_open",
            ["thread_id"],
            unique=True,
            postgresql_where=sa.text("state in ('planned', 'claimed', 'waiting')"),
            sqlite_where=sa.text("state in ('planned', 'claimed', 'waiting')"),
        )

    op.create_table(
        "attempt",
        sa.Column("item_id", sa.String(length=40), nullable=False),
        sa.Column("fence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("thread_id", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("armed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bundle", sa.String(length=80), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=False),
        sa.Column("before_observation", _JSON, nullable=True),
        sa.Column("children", sa.String(length=8), nullable=False),
        sa.Column("children_found", sa.Integer(), nullable=False),
        sa.Column("children_deleted", sa.Integer(), nullable=False),
        sa.Column("answer", sa.String(length=16), nullable=True),
        sa.Column("answer_observation", _JSON, nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["item_id"], ["work_item.id"], name=op.f("fk_attempt_item_id")),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.id"], name=op.f("fk_attempt_thread_id")),
        sa.PrimaryKeyConstraint("item_id", "fence", "stage", name=op.f("pk_attempt")),
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index("ix_attempt_thread", ["thread_id"], unique=False)
        batch_op.create_index(
            "ix_attempt_unanswered",
            ["armed_at"],
            unique=False,
            postgresql_where=sa.text("answer is null"),
            sqlite_where=sa.text("answer is null"),
        )


def downgrade() -> None:
    """Take this step back."""
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_attempt_unanswered",
            postgresql_where=sa.text("answer is null"),
            sqlite_where=sa.text("answer is null"),
        )
        batch_op.drop_index("ix_attempt_thread")

    op.drop_table("attempt")
    with op.batch_alter_table("work_item", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_work_item_open",
            postgresql_where=sa.text("state in ('planned', 'claimed', 'waiting')"),
            sqlite_where=sa.text("state in ('planned', 'claimed', 'waiting')"),
        )
        batch_op.drop_index("ix_work_item_sweep")
        batch_op.drop_index(
            "ix_work_item_due",
            postgresql_where=sa.text("state in ('planned', 'claimed', 'waiting')"),
            sqlite_where=sa.text("state in ('planned', 'claimed', 'waiting')"),
        )

    op.drop_table("work_item")
    op.drop_table("sweep_plan")
    op.drop_table("notice")
    with op.batch_alter_table("erasure_thread", schema=None) as batch_op:
        batch_op.drop_index("ix_erasure_thread_thread_id")

    op.drop_table("erasure_thread")
    op.drop_table("bundle_in_force")
    with op.batch_alter_table("thread", schema=None) as batch_op:
        batch_op.drop_index("ix_thread_project")
        batch_op.drop_index(
            "ix_thread_reverify",
            postgresql_where=sa.text("reverify_at is not null"),
            sqlite_where=sa.text("reverify_at is not null"),
        )
        batch_op.drop_index("ix_thread_owner")
        batch_op.drop_index("ix_thread_external_id")
        batch_op.drop_index("ix_thread_due")

    op.drop_table("thread")
    with op.batch_alter_table("sweep", schema=None) as batch_op:
        batch_op.drop_index("ix_sweep_state")

    op.drop_table("sweep")
    op.drop_table("stopped_pair")
    op.drop_table("protection")
    op.drop_table("policy_since")
    with op.batch_alter_table("hold", schema=None) as batch_op:
        batch_op.drop_index("ix_hold_active", postgresql_where=sa.text("released_at is null"))

    op.drop_table("hold")
    op.drop_table("fact")
    op.drop_table("erasure")
    op.drop_table("canary")
    op.drop_table("bundle")
    op.drop_table("audit_leaf")
    op.drop_table("audit_head")
    op.drop_table("audit_checkpoint")
    with op.batch_alter_table("audit_body", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_body_subject")
        batch_op.drop_index("ix_audit_body_project")

    op.drop_table("audit_body")
    op.drop_table("api_key")
