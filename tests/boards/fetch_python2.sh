#!/bin/sh
# Python 2.7 from Debian bullseye's packages, unpacked into DIR without installing anything: DIR/python2.7 starts it.
set -eu
dir=${1:?usage: fetch_python2.sh DIR}
mkdir -p "$dir"
cd "$dir"
mkdir -p lists/partial archives/partial
: >status
echo 'deb http://deb.debian.org/debian bullseye main' >sources.list
options="-o Dir::Etc::sourcelist=$PWD/sources.list -o Dir::Etc::sourceparts=- -o Dir::State=$PWD
    -o Dir::State::status=$PWD/status -o Dir::Cache=$PWD"
# shellcheck disable=SC2086 # words, not one
apt-get $options -qq update
# shellcheck disable=SC2086
apt-get $options -qq download python2.7-minimal libpython2.7-minimal libpython2.7-stdlib libffi7
for package in ./*.deb; do dpkg-deb -x "$package" root; done
libraries=$(dirname "$(find root/usr/lib -name 'libffi.so.7' | head -n 1)")
cat >python2.7 <<END
#!/bin/sh
LD_LIBRARY_PATH="$PWD/$libraries" PYTHONHOME="$PWD/root/usr" exec "$PWD/root/usr/bin/python2.7" "\$@"
END
chmod +x python2.7
