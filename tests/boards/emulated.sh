#!/bin/sh
# An ARM board by emulation: a Debian root of ARCH (armhf or arm64) in DIR with Python, OpenBLAS, on arm64 ONNX Runtime,
# and an sshd of its own, run by qemu-user. As root; takes about four minutes. Its times are an emulator's: 200 to 300
# times slower.
#   tests/boards/emulated.sh armhf DIR
set -eu
arch=${1:?usage: emulated.sh armhf|arm64 DIR}
dir=${2:?usage: emulated.sh armhf|arm64 DIR}
case $arch in armhf) cpu=arm ;; arm64) cpu=aarch64 ;; *) echo "unknown architecture $arch" >&2 && exit 2 ;; esac
dpkg -s qemu-user-static debootstrap >/dev/null 2>&1 ||
    apt-get install -qq -y --no-install-recommends qemu-user-static debootstrap >/dev/null
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e "/proc/sys/fs/binfmt_misc/qemu-$cpu" ] ||
    tr -d '\n' <"/usr/lib/binfmt.d/qemu-$cpu.conf" >/proc/sys/fs/binfmt_misc/register
if [ ! -e "$dir/.whole" ]; then
    debootstrap --foreign --arch="$arch" --variant=minbase \
        --include=python3,libopenblas0-pthread,openssh-server bookworm "$dir"
    chroot "$dir" /debootstrap/debootstrap --second-stage
    touch "$dir/.whole"
fi
# There are no wheels of ONNX Runtime for 32 bits. Bookworm has Python 3.11.
packages=$dir/usr/lib/python3/dist-packages
if [ "$arch" = arm64 ] && [ ! -e "$packages/onnxruntime" ]; then
    python3 -m pip download --quiet --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_aarch64 \
        --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 --dest "$dir/wheels" onnxruntime==1.32.0
    for wheel in "$dir"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$packages"; done
fi
mountpoint -q "$dir/proc" || mount -t proc proc "$dir/proc"
chroot "$dir" python3 -c 'import platform; print(platform.machine())'
