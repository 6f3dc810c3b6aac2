#!/bin/sh
# Runs tests/extra with the Python given first, and says which outside tools are absent and what they would be for.
# An absent tool is no failure; a failing test is.
set -eu
python=$1; shift
absent() { printf 'absent: %s; not run: any test that needs it (%s)\n' "$1" "$2"; }
has() { for tool in "$@"; do command -v "$tool" >/dev/null 2>&1 && return 0; done; return 1; }
has chromium chromium-browser google-chrome || absent chromium 'pages in a browser'
has kubectl || absent kubectl 'kustomize of the objects for Kubernetes'
has promtool || absent prometheus 'alert rules, and a dashboard over a scraped service'
has systemd-analyze || absent systemd-analyze 'the units'
has node || absent node 'verification in JavaScript'
has go || absent go 'verification in Go'
has openssl || absent openssl 'signatures by another implementation'
if [ -z "$(find tests/extra -name 'test_*.py' 2>/dev/null | head -1)" ]; then
  echo 'tests/extra holds no test yet: nothing was run'
  exit 0
fi
status=0
"$python" -m pytest tests/extra "$@" || status=$?
# pytest says 5 where it collected nothing.
[ "$status" -eq 5 ] && status=0
exit "$status"
