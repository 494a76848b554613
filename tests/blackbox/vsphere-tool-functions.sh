# SPDX-License-Identifier: BSD-3-Clause

# What the tests of vmdkit on a server's disks share; after functions.sh.
#
#   requires_vsphere_tool
#   server COMMAND ARGUMENT...        vmdkit with the words of $server
#   server_fails STATUS WORDS ...     the same as tool_fails
#   datastore FILE                    where it lies here
#
# and what vsphere-functions.sh has.

. "$here/vsphere-functions.sh"

requires_vsphere_tool ()
{
  requires_tool
  requires python3 -c 'import ssl, http.server'
  requires openssl version
  if vmdkit access list server=localhost 2>&1 | grep -q 'built without'; then
    skip "the tool was built without disks of servers"
  fi
  echo secret-word > "$tmp/password"
}

# The words are set when the server is known.
server ()
{
  vmdkit "$@" server=127.0.0.1 port="$port" user=user \
    password=+"$tmp/password" thumbprint="$sha1"
}

server_fails ()
{
  tool_fails "$@" server=127.0.0.1 port="$port" user=user \
    password=+"$tmp/password" thumbprint="$sha1"
  if grep -q secret-word "$tmp/tool-err"; then
    fail "the password was printed"
  fi
}

datastore ()
{
  echo "$work/ds/ds1/$1"
}

# Every session was ended.
logged_out ()
{
  test "$(count login)" -eq "$(count logout)" \
    || fail "sessions are left: $(events)"
}
