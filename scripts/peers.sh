# Installs the Debian packages of peers.txt that are missing, after asking. Sourced by scripts/test, as root.

peers() { grep -v '^#' "$root/scripts/peers.txt"; }

# Packages of peers.txt that are not installed, one a line.
missing_peers() {
    peers | awk '{ print $1 }' | sort | comm -23 - <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u)
}

# What apt-get would remove to install these; nothing when it cannot install them, which it says itself later.
removals() {
    { apt-get install -s -q --no-install-recommends "$@" 2>/dev/null || :; } | sed -n 's/^Remv \([^ ]*\).*/\1/p' | paste -sd ' ' -
}

# Asks on a terminal; $1 is "yes" when the answer was given beforehand.
agreed() {
    local answer
    [ "$1" != yes ] || return 0
    [ -t 0 ] || die "nobody is here to ask whether they may be installed; run it with --yes if they may."
    printf 'Install them? [y/N] ' >&2
    read -r answer || answer=
    case $answer in [yY] | [yY]es) ;; *) die "nothing was installed; scripts/check runs what works without them." ;; esac
}

# While packages are installed nothing may start by itself: a DNS or proxy server must not appear on somebody's laptop.
policy=/usr/sbin/policy-rc.d
guard_services() {
    # One with our mark was left by a run that was killed.
    if [ -e "$policy" ] && ! grep -qs 'roomprobe tests' "$policy"; then mv -f "$policy" "$policy.kept-by-roomprobe"; fi
    trap unguard_services EXIT
    printf '#!/bin/sh\n# for the duration of an installation by the roomprobe tests\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}
unguard_services() {
    if [ -e "$policy.kept-by-roomprobe" ]; then mv -f "$policy.kept-by-roomprobe" "$policy"; else rm -f "$policy"; fi
    trap - EXIT
}

# The lab starts its own copies; the packages' services are for nobody here.
settle_services() {
    local package what unit
    [ -d /run/systemd/system ] || return 0
    while read -r package what unit; do
        case " $* " in *" $package "*) ;; *) continue ;; esac
        case $what in
            off) quietly systemctl disable "$unit" || say "$unit could not be disabled; it will start at the next boot" ;;
            on) quietly systemctl start "$unit" || say "$unit did not start" ;;
        esac
    done < <(peers)
}

# install_peers yes|ask: leaves nothing of peers.txt missing, or ends the run with a sentence.
install_peers() {
    local missing removed
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
        die "the lab is made of Debian's packages, and this is no Debian; scripts/check runs what works without them."
    mapfile -t missing < <(missing_peers)
    [ ${#missing[@]} -gt 0 ] || return 0
    quietly apt-get update -q || die "apt-get could not read its package lists; what it said stands above."
    say "the tests need these Debian packages, which are missing here: ${missing[*]}"
    removed=$(removals "${missing[@]}")
    [ -z "$removed" ] || say "apt-get would remove these to make room: $removed"
    agreed "$1"
    say "installing them, a minute or two"
    guard_services
    quietly env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" ||
        die "the packages could not be installed; what apt-get said stands above."
    unguard_services
    settle_services "${missing[*]}"
}
