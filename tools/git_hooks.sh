#!/usr/bin/env bash
# Git and Jupyter keep the notebooks of this clone clean and mergeable. Nothing outside the clone is touched.
set -euo pipefail
cd "$(dirname "$0")/.."

# Jupyter started from .venv cleans a notebook when it saves it.
mkdir -p .venv/etc/jupyter
cat > .venv/etc/jupyter/jupyter_server_config.py <<'EOF'
from nbdev.clean import clean_jupyter
c.ContentsManager.pre_save_hook = lambda **kwargs: clean_jupyter(**kwargs)
EOF

[ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$(pwd -P)" ] || exit 0

# Conflicts in notebooks are settled cell by cell (.gitattributes names the driver); without .venv git merges them as text.
git config --local merge.nbdev-merge.name "resolve conflicts in notebooks cell by cell"
git config --local merge.nbdev-merge.driver \
    'if [ -x .venv/bin/nbdev_merge ]; then PATH=.venv/bin:$PATH nbdev_merge %O %A %B %P; else git merge-file %A %O %B; fi'

# Staged notebooks are cleaned before they are committed. A hook that is already there is somebody's: it stays.
hook=$(git rev-parse --git-path hooks)/pre-commit
if [ -e "$hook" ] && ! grep -q nbdev_clean "$hook"; then echo "note: $hook is kept as it is"; exit 0; fi
mkdir -p "$(dirname "$hook")"
cat > "$hook" <<'EOF'
#!/usr/bin/env bash
# Made by tools/git_hooks.sh: staged notebooks are cleaned. One with further unstaged changes is left alone.
[ -x .venv/bin/nbdev_clean ] || exit 0
git diff --cached --name-only --diff-filter=ACM -z -- '*.ipynb' | while IFS= read -r -d '' nb; do
    git diff --quiet -- "$nb" || continue
    .venv/bin/nbdev_clean --fname "$nb" && git add -- "$nb"
done
EOF
chmod +x "$hook"
