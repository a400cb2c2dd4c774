#!/bin/sh
# Makes the secrets of compose.yaml once, below ./secrets: passwords of three database roles, and the URLs that use them.
# Run it before the first `docker compose up`. What is there already stays as it is.
# The folder is closed to others; the files in it are open, because a container reads them as another user.
set -eu
cd "$(dirname "$0")"
umask 022
mkdir -p secrets/tools
chmod 700 secrets

random() {
  head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

# keep FILE TEXT: writes it whole, unless it is there.
keep() {
  [ -e "secrets/$1" ] || { printf '%s' "$2" >"secrets/$1.new" && mv "secrets/$1.new" "secrets/$1"; }
}

for role in owner server maintenance; do
  keep "${role}_password" "$(random)"
done
for role in owner server maintenance; do
  keep "${role}_url" "postgres://orloj_${role}:$(cat "secrets/${role}_password")@postgres:5432/orloj"
done
echo "secrets are in $(pwd)/secrets; tools find theirs in secrets/tools/NAME/KEY"
