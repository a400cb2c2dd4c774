#!/bin/sh
# Makes what proves who is who, once, in the folder $1 (a CA, a certificate each for the servers, two workers, and an administrator; the key
# that signs the audit trail), and lays into the folders below $2 what each of them may see: nobody but this script sees the key of the CA.
# Run it again after `orloj certs rotate` or `revoke` in $1: what changed is laid out, and read by those that run.
set -eu
ca=$1
out=$2
[ -e "$ca/ca.crt" ] || orloj certs init --dir "$ca" --trust-domain orloj.local
[ -e "$ca/server.crt" ] || orloj certs issue server --dir "$ca" --host balancer --host server-1 --host server-2 --host localhost --host 127.0.0.1
for worker in w1 w2; do
  [ -e "$ca/worker-$worker.crt" ] || orloj certs issue worker --dir "$ca" --name "$worker"
done
[ -e "$ca/client-admin.crt" ] || orloj certs issue client --dir "$ca" --name admin
[ -e "$ca/audit-key.pem" ] || node -e '
  const { generateKeyPairSync } = require("node:crypto");
  const { renameSync, writeFileSync } = require("node:fs");
  const [path] = process.argv.slice(1);
  const key = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" });
  writeFileSync(path + ".new", key, { mode: 0o600 });
  renameSync(path + ".new", path);
' "$ca/audit-key.pem"

# lay FOLDER SOURCE NAME: whole or not at all, for the user of the image alone.
lay() {
  mkdir -p "$out/$1"
  cp "$ca/$2" "$out/$1/$3.new"
  chmod 0400 "$out/$1/$3.new"
  [ "$(id -u)" != 0 ] || chown 1000:1000 "$out/$1/$3.new"
  mv -f "$out/$1/$3.new" "$out/$1/$3"
}
for of in server:server worker-w1:worker-1 worker-w2:worker-2 client-admin:admin; do
  lay "${of#*:}" "${of%:*}.crt" tls.crt
  lay "${of#*:}" "${of%:*}.key" tls.key
  lay "${of#*:}" ca.crt ca.crt
done
lay server ca.crl ca.crl
lay server audit-key.pem audit-key.pem
