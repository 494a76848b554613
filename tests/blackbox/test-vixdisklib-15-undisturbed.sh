#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 15: from before a disk is opened until after it is closed
# the machine's storage cannot be moved away; before and after it can.

. "${srcdir:-$(dirname "$0")}/functions.sh"
. "$here/vsphere-tool-functions.sh"

requires_vsphere
requires_vsphere_tool
requires_python nbd
make_managed_disk
start_nfc
start_server

# move WORD: WORD is in the server's answer to RelocateVM_Task
move ()
{
  python3 - "$port" > "$tmp/answer" << 'SCRIPT'
import re, ssl, sys, urllib.error, urllib.request as u
context = ssl._create_unverified_context ()
form = ('<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>'
        '<%s xmlns="urn:vim25">%s</%s></Body></Envelope>')

def call (method, inner, cookie=""):
    request = u.Request ("https://127.0.0.1:%s/sdk" % sys.argv[1],
                         (form % (method, inner, method)).encode (),
                         { "Cookie": cookie, "SOAPAction": "urn:vim25/6.7" })
    try:
        answer = u.urlopen (request, context=context)
    except urllib.error.HTTPError as e:
        answer = e
    return answer, answer.read ().decode ()

this = '<_this type="SessionManager">SessionManager</_this>'
answer, _ = call ("Login", this + "<userName>user</userName>"
                  "<password>secret-word</password>")
cookie = answer.headers["Set-Cookie"].split (";")[0]
print (call ("RelocateVM_Task", '<_this type="VirtualMachine">vm-57</_this>'
             '<spec/>', cookie)[1])
call ("Logout", this, cookie)
SCRIPT
  grep -q "$1" "$tmp/answer" || fail "not $1: $(cat "$tmp/answer")"
}

move 'RelocateVM_TaskResponse'
for transport in nbdssl https; do
  nbdkit_remote transports=$transport
  "$PYTHON" "$here/hold-open.py" "$uri" "$tmp/held" &
  client=$!
  pids="$pids $client"
  while ! test -e "$tmp/held"; do
    sleep 0.05
  done
  rm "$tmp/held"
  move 'MethodDisabled'
  server access list | grep -q 'vm-57' || fail "not listed"
  kill "$client"
  stop_nbdkit
  move 'RelocateVM_TaskResponse'
done

# the same around a copy
: > "$work/journal"
server convert -q '[ds1] web/web.vmdk' "$tmp/copy.vmdk" vm=web
nothing_left 1
move 'RelocateVM_TaskResponse'
