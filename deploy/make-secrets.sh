#!/bin/sh
# Make the files that docker-compose.yml mounts as secrets. Safe to run again: nothing that exists is replaced.
set -eu
umask 022
folder=${1:-$(dirname "$0")/../.tenure/secrets}
mkdir -p "$folder"
# Nobody else may enter the folder. The files themselves are readable, because containers read them as other users.
chmod 700 "$folder"

random() {
  head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

# write NAME: keep standard input as that file, unless it is there already.
write() {
  [ -e "$folder/$1" ] && return 0
  cat > "$folder/$1.new"
  mv "$folder/$1.new" "$folder/$1"
  echo "made $folder/$1" >&2
}

# url LOGIN FILE: the database's address for that login, with the password in that file.
url() {
  printf 'database_url: postgresql://%s:%s@postgres:5432/tenure\n' "$1" "$(cat "$folder/$2")"
}

random | write database_password
random | write service_password
random | write signing_key
url tenure database_password | write migrate.yaml
url tenure_service service_password | write tenure.yaml
: | write provider_key
[ -s "$folder/provider_key" ] || echo "put your provider's key into $folder/provider_key" >&2
