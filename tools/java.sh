#!/usr/bin/env bash
# java.sh: print the JAVA_HOME of a Java that Spark runs on; get one where that is possible.
# Exits 1, saying what to do, if there is none: Spark tests are skipped then, all else works.
set -euo pipefail
oldest=17

# Prints the home of the java it is given, if it is new enough.
home_of() {
    local settings version
    settings=$("$1" -XshowSettings:properties -version 2>&1) || return 1
    version=$(sed -n 's/^ *java\.specification\.version = //p' <<<"$settings")
    [ "${version%%.*}" -ge "$oldest" ] 2>/dev/null || return 1
    sed -n 's/^ *java\.home = //p' <<<"$settings"
}

find_java() {
    local java
    for java in "${JAVA_HOME:-/nonexistent}/bin/java" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        [ -x "$java" ] && home_of "$java" && return 0
    done
    return 1
}

find_java && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "make: no Java $oldest or newer; installing one" >&2
    apt-get update -qq || true
    for package in openjdk-17-jre-headless openjdk-21-jre-headless; do
        if apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1; then break; fi
    done
    find_java && exit 0
fi

cat >&2 <<EOF
make: Spark needs Java $oldest or newer, and there is none on the PATH, in JAVA_HOME or in /usr/lib/jvm.
make: Without it Spark tests are skipped; --engine local needs none. To get one, do one of these:
make:   apt-get install openjdk-17-jre-headless     (as root, on Debian and Ubuntu)
make:   unpack any JDK $oldest+ and set JAVA_HOME to its folder
EOF
exit 1
