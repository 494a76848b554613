#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause

# VixDiskLib, item 4: Create, a new local disk of type, adapter, hardware
# version and capacity.  Sizes to the formats' limits.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
cd "$tmp"

for type in monolithic-sparse monolithic-flat split-sparse split-flat \
  vmfs-thin vmfs-sparse stream-optimized; do
  for adapter in ide buslogic lsilogic; do
    name=$tmp/$type-$adapter.vmdk
    vmdkit create -q -t $type -a $adapter -w 7 "$name" 204800s \
      || fail "$type, $adapter"
    vmdkit info --json "$name" > info
    test "$(json 'j["capacity"], j["adapter"], j["hw-version"]' < info)" \
      = "(104857600, '$adapter', 7)" || fail "$type: $(cat info)"
  done
done

# over 2 TB
vmdkit create -q -t vmfs-thin large.vmdk 15T || fail "15T"
test "$(vmdkit info --json large.vmdk | json 'j["capacity"]')" \
  = 16492674416640 || fail "another size"
tool_fails 1 "at most" create -t monolithic-sparse --grain-size=4K x.vmdk 17T
test ! -e x.vmdk || fail "something was left"
