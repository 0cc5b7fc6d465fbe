#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# certificates.sh FOLDER: makes the certificates that the tests of TLS use, with the openssl command. Each NAME.crt has a NAME.key.
#
#   ca         vouches for all others but these: other-ca, self
#   server     localhost, server.example, 127.0.0.1 and ::1; behind it its own intermediate, so it is a chain
#   second     second.example and *.wild.example, RSA
#   expired    localhost, until yesterday
#   client     CN=ann,O=Example, for clients
#   stranger   a client's, from other-ca
set -euo pipefail

mkdir -p "$1"
cd "$1"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() { "$@" 2>"$log" >/dev/null || { cat "$log" >&2; exit 1; }; }

key() { quietly openssl genpkey -algorithm "${2:-EC}" -pkeyopt "${3:-ec_paramgen_curve:P-256}" -out "$1.key"; }

# root NAME SUBJECT
root() {
    key "$1"
    quietly openssl req -x509 -new -key "$1.key" -subj "$2" -days 3650 -out "$1.crt" -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign,cRLSign
}

# leaf NAME SUBJECT ISSUER DAYS EXTENSIONS: its key is there
leaf() {
    quietly openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    quietly openssl x509 -req -in "$1.csr" -CA "$3.crt" -CAkey "$3.key" -set_serial "0x$(openssl rand -hex 8)" -days "$4" \
        -extfile <(printf '%b' "$5") -out "$1.crt"
    rm "$1.csr"
}

root ca "/CN=Tandem Test CA"
root other-ca "/CN=Another CA"
key middle
leaf middle "/CN=Tandem Test Intermediate" ca 3650 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n'
key server
leaf server /CN=localhost middle 3650 'subjectAltName=DNS:localhost,DNS:server.example,IP:127.0.0.1,IP:::1\n'
cat middle.crt >>server.crt
key second RSA rsa_keygen_bits:2048
leaf second /CN=second.example ca 3650 'subjectAltName=DNS:second.example,DNS:*.wild.example\n'
key expired
leaf expired /CN=localhost ca -1 'subjectAltName=DNS:localhost\n'
key client
leaf client /O=Example/CN=ann ca 3650 'extendedKeyUsage=clientAuth\n'
key stranger
leaf stranger /CN=mallory other-ca 3650 'extendedKeyUsage=clientAuth\n'
root self /CN=localhost
quietly openssl pkey -in server.key -aes128 -passout pass:secret -out locked.key
