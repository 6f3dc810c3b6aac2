#!/bin/sh
# Make a release of what is committed: sh deploy/release.sh 0.1.0
# Checks that version, CHANGELOG and tree agree, runs what CI runs, then writes wheel, source archive, list of parts
# and checksums to .tenure/dist, builds the image where a builder is, and tags. It publishes nothing.
# RELEASE_CHECKS=no leaves CI's run out, for trying the script.
set -eu
cd "$(dirname "$0")/.."
version=${1:-}
[ -n "$version" ] || { echo "usage: sh deploy/release.sh VERSION" >&2; exit 2; }
refuse() { echo "no release: $1" >&2; exit 1; }

[ -z "$(git status --porcelain)" ] || refuse "the tree has changes that are not committed"
grep -qx "__version__ = \"$version\"" worker/__init__.py || refuse "worker/__init__.py does not say $version"
grep -q "^## \[$version\] - [0-9]\{4\}-[0-9][0-9]-[0-9][0-9]$" CHANGELOG.md \
  || refuse "CHANGELOG.md has no line '## [$version] - YYYY-MM-DD'"
grep -qx "version: $version" deploy/helm/tenure/Chart.yaml || refuse "deploy/helm/tenure/Chart.yaml does not say $version"
git rev-parse -q --verify "refs/tags/v$version" >/dev/null && refuse "the tag v$version exists"
[ "${RELEASE_CHECKS:-yes}" = no ] || bash .ci/run

dist=.tenure/dist
rm -rf "$dist"
mkdir -p "$dist"
# The commit's own time, so that building it again gives the same bytes.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
.venv/bin/python -m hatchling build -d "$dist"
cp requirements.lock requirements-otel.lock "$dist/"
if [ -x .venv/bin/cyclonedx-py ]; then
  .venv/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
    --of JSON -o "$dist/tenure.cdx.json" requirements-otel.lock
else
  echo "not made: the list of parts (make test-extra installs its tool)" >&2
fi
image="tenure:$version"
if IMAGE=$image sh deploy/build-image.sh; then echo "image: $image"; else echo "not made: the image" >&2; fi
(cd "$dist" && sha256sum -- * > SHA256SUMS)
git tag -a "v$version" -m "Tenure $version"
cat "$dist/SHA256SUMS"
echo "tagged v$version; push it, and publish what is in $dist"
