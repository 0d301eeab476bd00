#!/bin/sh
# The one recipe of the image's root file system: Debian, Python and the extra `serve`; no pip, no compiler, no torch.
# Run:  docker/base/rootfs.sh rootfs.tar     as root on Debian 12, with mmdebstrap and uv; `cradle base build` calls it.
# The same packages give the same bytes: times are fixed, byte code is checked by hash, caches are left out.
set -eu
out=$1
project=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=0 project work
UV=$(command -v "${UV:-uv}") || { echo "uv is not there: run make setup, or pip install uv" >&2; exit 2; }
export UV
umask 022

# Everything that Python needs, from the lock, where Debian's Python looks for it.
cat > "$work/packages.sh" <<'HOOK'
set -eu
site=$1/usr/local/lib/python3.11/dist-packages
mkdir "$work/source"
cp -r "$project/pyproject.toml" "$project/README.md" "$project/cradle" "$project/streamlit_apps" "$work/source"
"$UV" --system-certs build --quiet --wheel --no-build-isolation --python "${PYTHON:-python3.11}" \
  --out-dir "$work/wheel" "$work/source"
"$UV" --system-certs pip install --quiet --target "$site" --python-version 3.11 --only-binary :all: --no-deps \
  --require-hashes --requirements "$project/requirements/serve.txt"
"$UV" pip install --quiet --target "$site" --python-version 3.11 --no-deps --no-index --find-links "$work/wheel" cradle
rm -rf "$site/bin" "$site/share" "$site/etc" "$site"/.lock "$site/pyarrow/include" "$site"/*.dist-info/uv_cache.json
sed -i '/uv_cache\.json/d' "$site"/*.dist-info/RECORD  # it holds a time
find "$site" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
HOOK

# Imported where they will run; then byte code that is never compared with a time.
cat > "$work/finish.sh" <<'HOOK'
set -eu
chroot "$1" /usr/bin/python3 -P -W ignore -c "
import altair, cryptography, duckdb, faiss, fastapi, jwt, limits, numpy, onnxruntime, pandas, prometheus_client
import pyarrow.parquet, sqlglot, sqlite3, streamlit, tokenizers, uvicorn, zoneinfo
import cradle.serve.app, streamlit_apps.views.sales, streamlit_apps.views.catalogue
" 2>"$work/imports" || { cat "$work/imports" >&2; exit 1; }
find "$1/usr" -name __pycache__ -prune -exec rm -rf {} +
chroot "$1" /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash \
  /usr/lib/python3.11 /usr/local/lib/python3.11/dist-packages
echo 'cradle:x:65532:65532:Cradle:/tmp:/usr/sbin/nologin' >> "$1/etc/passwd"
echo 'cradle:x:65532:' >> "$1/etc/group"
install -d -o 65532 -g 65532 -m 0700 "$1/state"
rm -rf "$1"/root/.cache "$1"/var/cache/* "$1"/var/log/* "$1"/var/lib/apt "$1"/tmp/* "$1/etc/hostname" "$1/etc/resolv.conf" \
  "$1"/var/lib/dpkg/*-old "$1/var/cache/ldconfig" "$1"/usr/share/python3/runtime.d
HOOK

mmdebstrap --quiet --variant=essential --include=python3,tzdata,libstdc++6,libgomp1 \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --customize-hook="sh $work/packages.sh \"\$1\"" --customize-hook="sh $work/finish.sh \"\$1\"" bookworm "$out"
