#!/bin/sh
# Build the image with docker, or with buildah where there is no engine (it needs none), and say what came out.
# BASE=...        another base image with Python 3.11 to 3.13 (see deploy/Dockerfile)
# IMAGE=...       its name (tenure:local)
# BUILD_FLAGS=... more flags for the builder, for example a volume with the roots of a proxy
set -eu
cd "$(dirname "$0")/.."
image=${IMAGE:-tenure:local}
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' worker/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
set -- --file deploy/Dockerfile --tag "$image" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
  ${BASE:+--build-arg "BASE=$BASE"}

if docker info >/dev/null 2>&1; then
  # shellcheck disable=SC2086 - several flags in one variable
  docker build "$@" ${BUILD_FLAGS:-} .
elif command -v buildah >/dev/null 2>&1; then
  # A chroot needs neither a daemon nor namespaces; Docker's format keeps what compose reads.
  # shellcheck disable=SC2086
  buildah ${BUILDAH_FLAGS:-} bud --isolation chroot --format docker "$@" ${BUILD_FLAGS:-} .
else
  echo "neither a running docker nor buildah is here: no image was built" >&2
  exit 1
fi
echo "built $image, version $version, revision $revision"
