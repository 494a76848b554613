#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# What a server says and nobody understands is logged so that a user can send
# it to us, the message says how, and there is no secret in it.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-functions.sh"

requires_vsphere
make_managed_disk
start_nfc
start_server
how='please report it with what this logs: nbdkit -v -D vmdk.open=1'

# log_has WORDS: a basic regular expression, in the log of a server that ran
# with all flags.
log_has ()
{
  grep -q -e "$1" "$tmp/log" || { cat "$tmp/log" >&2; fail "no \"$1\""; }
}

# What was logged has nothing that opens a door.
no_secrets ()
{
  secrets=$(sed -n 's/.*"ticket": "\([^"]*\)".*/\1/p' "$work/journal")
  for secret in secret-word ticket- vmware_soap_session=. $secrets; do
    if grep -q -e "$secret" "$tmp/log"; then
      fail "in the log: $secret"
    fi
  done
}

# served_loudly PARAMETER...: as nbdkit_remote, with the flags.
served_loudly ()
{
  nbdkit_flags="-r -v -D vmdk.open=1"
  nbdkit_remote "$@"
}

# A frame that is harmless: the disk is read all the same, and one line says
# what came.
nfc set io strange-type 3 2
served_loudly transports=nbdssl
nbdcopy "$uri" "$tmp/copy"
cmp "$raw" "$tmp/copy" || fail "other bytes"
stop_nbdkit
log_has "warning: the host sent a message of type 77, .*; $how"
log_has '< frame, 27 bytes: 7ada00a14d0000000b00000005000000'
log_has '> frame, 60 bytes: 7ada00a107000000'
test "$(grep -c 'warning: .* type 77' "$tmp/log")" -eq 1 || fail "not once"
no_secrets

# One that makes no sense, again and again: an error.
nfc clear
nfc set io magic 1 1000
served_loudly transports=nbdssl
if nbdcopy "$uri" "$tmp/copy" 2> "$tmp/said"; then
  fail "nonsense was read"
fi
stop_nbdkit
log_has "error: .*sent 0x00000000 where a message begins; $how"
log_has '< frame, 16 bytes: 00000000000000000000000000000000'
no_secrets

# A line that is none of the daemon's, with the ticket in it.
nfc clear
nfc set authd 299 what about {ticket}
served_loudly transports=nbdssl > "$tmp/said" 2>&1 || :
nbdinfo --size "$uri" > "$tmp/said" 2>&1 && fail "opened"
stop_nbdkit
log_has "< 299 what about \\*\*\*"
nfc clear
nfc set greeting nonsense-line
served_loudly transports=nbdssl > "$tmp/said" 2>&1 || :
nbdinfo --size "$uri" > "$tmp/said" 2>&1 && fail "opened"
stop_nbdkit
log_has 'the host greets with "nonsense-line"'
log_has "$how"
nfc clear

# A fault that nobody knows: what it says is there, but for what is secret.
control '{"fault": {"method": "RetrievePropertiesEx", "do": "fault",
  "type": "FluxFault", "message": "the flux",
  "fields": {"flow": "odd", "sessionId": "52-secret-id"}, "count": 1000}}'
if served_loudly transports=nbdssl > "$tmp/said" 2>&1; then
  nbdinfo --size "$uri" > "$tmp/said" 2>&1 && fail "opened"
  stop_nbdkit
fi
log_has "error: .*FluxFault: the flux.*; $how"
sed -n 's/.*debug: | //p' "$tmp/log" | tr -d '\n' > "$tmp/answer"
grep -q '<flow>odd</flow><sessionId>\*\*\*' "$tmp/answer" \
  || fail "no answer: $(cat "$tmp/answer")"
if grep -q 52-secret-id "$tmp/log"; then
  fail "a session's id was logged"
fi
no_secrets
