#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause

# The completion loads in a plain bash, and completes commands, options,
# words and files; every type, adapter and version that it offers is one that
# the tool takes.

. "${srcdir:-$(dirname "$0")}/functions.sh"

requires_tool
set +u
. "$top/completions/vmdkit"
complete -p vmdkit > /dev/null || fail "nothing is registered"

mkdir "$tmp/bin" "$tmp/work"
ln -s "$VMDKIT" "$tmp/bin/vmdkit"
PATH=$tmp/bin:$PATH
unset -f vmdkit
cd "$tmp/work"

# completes WORD...: what is offered for the last one, sorted, in $offered.
# compopt fails outside a real completion.
completes ()
{
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  _vmdkit || :
  offered=$(printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' ')
  offered=${offered% }
}

# offers EXPECTED WORD...
offers ()
{
  local expected=$1
  shift
  completes "$@"
  test "$offered" = "$expected" \
    || fail "\"$offered\", not \"$expected\", is offered for: $*"
}

offers info vmdkit inf
offers create vmdkit cre
offers info vmdkit help inf
completes vmdkit ""
for command in $(vmdkit --help | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p'); do
  case " $offered " in
    *" $command "*) ;;
    *) fail "$command is not offered" ;;
  esac
done

offers --grain-size vmdkit create --gr
offers --single-link vmdkit info --sin
offers "vmfs vmfs-flat vmfs-sparse vmfs-thin vmfsSparse vmfsThin" \
  vmdkit create -t vmfs
offers vmfs-thin vmdkit create --type = vmfs-t
offers "off on" vmdkit info --lock = o
offers "off on" vmdkit info --lock o
offers json vmdkit info --progress = j
offers "scsi-buslogic scsi-lsilogic" vmdkit create -a scsi
offers esx65 vmdkit create -w esx65

touch a.vmdk b.ova c.txt "d e.vmdk"
mkdir folder
offers "a.vmdk b.ova d e.vmdk folder/" vmdkit info ""
offers "a.vmdk" vmdkit map a
offers "a.vmdk" vmdkit map --parent a
offers "folder/" vmdkit map --search = ""
# after a bare --progress comes an operand
offers "a.vmdk" vmdkit info --progress a

rm -rf -- *
for type in $_vmdkit_types; do
  vmdkit create -q -t "$type" x.vmdk 1M || fail "no type $type"
  rm x*.vmdk
done
for adapter in $_vmdkit_adapters; do
  vmdkit create -q -a "$adapter" x.vmdk 1M || fail "no $adapter"
  rm x.vmdk
done
for version in $_vmdkit_versions; do
  vmdkit create -q -w "$version" x.vmdk 1M || fail "no $version"
  rm x.vmdk
done
