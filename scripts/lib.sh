# shellcheck shell=bash
# Shared by the scripts here; meant to be sourced after `set -euo pipefail`.
#
# Owns: who builds (never root, where a user called us through sudo), and which Rust toolchain does.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die() {
	printf 'error: %s\n' "$1" >&2
	shift
	for line in "$@"; do printf '       %s\n' "$line" >&2; done
	exit 1
}
[[ -t 2 ]] || say() { printf '==> %s\n' "$*" >&2; }

# The comment at the head of a script is its help.
help_of() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$1"; }

need_root() {
	[[ $EUID -eq 0 ]] || die "$1 needs root: it makes network namespaces and kernel tables" "Run: sudo $1${2:+ $2}"
}

# The user who builds: who called sudo, if the checkout is theirs to write to; else the owner of the checkout; else us.
find_builder() {
	builder=$(id -un)
	[[ $EUID -eq 0 ]] || return 0
	local user
	for user in "${SUDO_USER:-}" "$(stat -c %U "$top")"; do
		[[ -n $user && $user != root && $user != UNKNOWN ]] || continue
		if runuser -u "$user" -- test -w "$top"; then
			builder=$user
			return 0
		fi
	done
}

# Runs a command as the user who builds, with that user's toolchain on the path.
as_builder() {
	if [[ $builder == "$(id -un)" ]]; then
		"$@"
	else
		runuser -u "$builder" -- env HOME="$builder_home" USER="$builder" LOGNAME="$builder" "$@"
	fi
}

find_builder
builder_home=$HOME
if [[ $builder != "$(id -un)" ]]; then builder_home=$(getent passwd "$builder" | cut -d: -f6); fi
# Kept by sudo for neither of us: what a login of that user would have. Root runs tests with these as well.
if [[ $builder != "$(id -un)" || -z ${CARGO_HOME:-} ]]; then
	export CARGO_HOME="$builder_home/.cargo"
fi
if [[ $builder != "$(id -un)" || -z ${RUSTUP_HOME:-} ]]; then
	export RUSTUP_HOME="$builder_home/.rustup"
fi
export PATH="$CARGO_HOME/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin"

# Whether `cargo` here is at least the version that Cargo.toml asks for.
cargo_is_new_enough() {
	local want have
	want=$(rust_wanted)
	have=$(cd "$top" && as_builder cargo --version 2>/dev/null | cut -d' ' -f2) || return 1
	[[ -n $have && $(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n1) == "$want" ]]
}

rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$top/Cargo.toml"; }

# Chooses the toolchain that rust-toolchain.toml names, or, where it is not here, the stable one if that is new enough.
find_toolchain() {
	if cargo_is_new_enough; then return 0; fi
	RUSTUP_TOOLCHAIN=stable cargo_is_new_enough || return 1
	export RUSTUP_TOOLCHAIN=stable
	note "the toolchain of rust-toolchain.toml is not installed: using rustup's stable ($(as_builder rustc --version))"
}
use_toolchain() {
	find_toolchain || die "no Rust toolchain of version $(rust_wanted) or later for user $builder" "Run: scripts/setup"
}

# Where the originals are: WEFT_PEERS, or peers/bin of this checkout.
peers_folder() { printf '%s\n' "${WEFT_PEERS:-$top/peers/bin}"; }
