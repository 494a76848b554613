#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# What all commands of the tool share: the command line, and the options that
# say how disks are opened.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
requires qemu-img --version
cd "$tmp"

vmdkit --version | grep -q '^vmdkit [0-9.]*$' || fail "--version"
vmdkit --help | grep -q '^  info  *[A-Z]' || fail "--help"
test "$(vmdkit help info)" = "$(vmdkit info --help)" || fail "help info"

tool_fails 2 'which command' 
tool_fails 2 "no command 'inof'; did you mean 'info'" inof
tool_fails 2 "no command 'createe'; did you mean 'create'" createe
tool_fails 2 "no command 'zzzzzzz'; .vmdkit --help. lists them" zzzzzzz
tool_fails 2 'unknown option' info --frobnicate a.vmdk
tool_fails 2 'lock=maybe' info --lock=maybe a.vmdk
tool_fails 2 'progress=2' info --progress=2 a.vmdk
tool_fails 2 'color=red' info --color=red a.vmdk
tool_fails 2 'exclude each other' info --parent=x --single-link a.vmdk
tool_fails 2 'no command .a.x1b' "$(printf 'a\033')"

qemu-img create -q -f vmdk base.vmdk 1M
qemu-img create -q -f vmdk -F vmdk -b base.vmdk child.vmdk
mkdir elsewhere
mv base.vmdk elsewhere
tool_fails 1 'its parent "base.vmdk" is missing: say where it is with --parent= or --search=, or read this link alone with --single-link$' \
  map child.vmdk
vmdkit map --search=elsewhere child.vmdk > /dev/null || fail "--search"
vmdkit map --search nowhere --search elsewhere child.vmdk > /dev/null \
  || fail "--search twice"
vmdkit map --parent elsewhere/base.vmdk child.vmdk > /dev/null \
  || fail "--parent"
vmdkit map --single-link child.vmdk > /dev/null || fail "--single-link"
# qemu writes no leading zeros
sed -i -e 's/^CID=1/CID=2/; t' -e 's/^CID=./CID=1/' elsewhere/base.vmdk
tool_fails 1 'the parent was modified since (--ignore-cid reads it all' map --search=elsewhere child.vmdk
vmdkit map --search=elsewhere --ignore-cid child.vmdk > /dev/null 2> warned \
  || fail "--ignore-cid"
grep -q '^vmdkit: warning: base.vmdk: CID is' warned || fail "no warning"
vmdkit map --search=elsewhere --ignore-cid -q child.vmdk > /dev/null \
  2> warned || fail "--quiet"
test ! -s warned || fail "--quiet: $(cat warned)"
vmdkit map --json --search=elsewhere --ignore-cid child.vmdk > /dev/null \
  2> warned || fail "--json"
json 'j["warning"]' < warned | grep -q '^base.vmdk: CID is' || fail "JSON warning"
vmdkit map -v --single-link child.vmdk > /dev/null 2> said || fail "-v"

# --progress takes no operand for its word; JSON comes line by line
vmdkit info --progress=json --single-link child.vmdk > /dev/null 2> said
test "$(tail -n 1 said | json 'j["progress"]["operation"],
  j["progress"]["percent"]')" = "('info', 100.0)" || fail "$(cat said)"
vmdkit info --progress --single-link child.vmdk > /dev/null 2> said \
  || fail "--progress"
grep -q '100.0 %' said || fail "no bar"
vmdkit info --single-link child.vmdk > /dev/null 2> said
test ! -s said || fail "a bar without a terminal"

# after -- everything is an operand
cp child.vmdk ./--json
vmdkit map --single-link -- --json | grep -q '^Start' || fail "--"
