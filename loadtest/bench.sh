#!/usr/bin/env bash
# The benchmark of the hot path: release gateway and nginx in front of one simulated engine, in the same run.
#
# Servers under test are pinned to core 0; engine, agent and client to core 1. The gateway runs with everything on: keys,
# limits, holds, posts, records, and epochs sealed (receipts are signed when read). Writes target/bench/overhead.json and prints a table.
#
#   BENCH_ROUNDS=5      rounds; figures are medians over them
#   BENCH_WINDOW_S=2    seconds per measurement
#   BENCH_CASES="chat_1k stream_100"   only these cases
#   BENCH_BUILD=no      take the programs as they are
#   BENCH_BIN=DIR       where the programs are, target/release by default
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BENCH_BIN:-target/release}
work=target/bench/work
pids=()

stop() {
    local status=$?
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ "$status" -ne 0 ]; then
        for log in "$work"/*.log; do
            [ -s "$log" ] && { echo "--- the end of $log"; tail -n 20 "$log"; } >&2
        done
    else
        rm -rf "$work"
    fi
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a server on a core, with a log of its own; its process id is in $pid then.
start() {
    local core=$1 name=$2
    shift 2
    taskset -c "$core" "$@" >"$work/$name.log" 2>&1 &
    pid=$!
    pids+=("$pid")
}

# Waits until a command succeeds, for 20 seconds at most.
await() {
    local what=$1
    shift
    for _ in $(seq 200); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    echo "bench: gave up waiting for $what" >&2
    return 1
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

free_port() {
    local port
    while port=$((20000 + RANDOM % 20000)); answers "$port" 2>/dev/null; do :; done
    echo "$port"
}

tunnel_is_up() { curl -fsS "http://127.0.0.1:$gateway_port/metrics" | grep -Eq '^filature_tunnels_open(\{[^}]*\})? 1$'; }

if ! command -v nginx >/dev/null; then
    echo "bench: installing nginx"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx-light >/dev/null
fi
if [ "${BENCH_BUILD:-yes}" != no ]; then
    cargo build --release -p filature-gateway -p filature-loadtest -p filature-provider-sdk --features filature-provider-sdk/agent
fi

proxy_core=0
other_core=1
if [ "$(nproc)" -lt 2 ]; then
    echo "bench: one core only: client, engine and servers take time from each other; latencies mean little" >&2
    other_core=0
fi
ulimit -n 16384 2>/dev/null || ulimit -n "$(ulimit -H -n)"
rm -rf "$work"
mkdir -p "$work/nginx"

start "$other_core" engine "$bin/filature-loadtest" engine --name bench --model bench --model bench-tunnel
await "the engine" grep -q '^ready' "$work/engine.log"
engine_url=$(sed -n 's|^ready base_url=\(.*\)/v1$|\1|p' "$work/engine.log")

nginx_port=$(free_port)
user_line=""
[ "$(id -u)" -eq 0 ] && user_line="user root;"
cat >"$work/nginx/nginx.conf" <<CONF
$user_line
worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
pid nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream engine { server ${engine_url#http://}; keepalive 1024; keepalive_requests 1000000000; }
    server {
        listen 127.0.0.1:$nginx_port backlog=4096;
        keepalive_requests 1000000000;
        client_body_buffer_size 128k;
        location / {
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
CONF
start "$proxy_core" nginx nginx -p "$PWD/$work/nginx" -c nginx.conf
nginx_pid=$pid
await nginx answers "$nginx_port"

gateway_port=$(free_port)
cat >"$work/gateway.toml" <<CONF
[server]
listen = "127.0.0.1:$gateway_port"
[ledger]
data = "$PWD/$work/data"
[telemetry]
log = "warn"
[[providers]]
name = "bench"
url = "$engine_url"
[[providers.models]]
model = "bench"
concurrency_max = 4096
context_tokens_max = 131072
price = { prompt = 50000000, completion = 200000000, call = 1000 }
CONF
start "$proxy_core" gateway "$bin/filature" serve --config "$work/gateway.toml"
gateway_pid=$pid
await "the gateway" answers "$gateway_port"

data=(--data "$PWD/$work/data")
account=$("$bin/filature" accounts create bench "${data[@]}" --json | grep -o 'acct_[0-9A-Za-z]*' | head -n 1)
"$bin/filature" accounts credit "$account" 1000000 "${data[@]}" --json >/dev/null
key=$("$bin/filature" keys create --account "$account" --name bench "${data[@]}" --json 2>"$work/keys.log" | grep -o 'sk-fil-[0-9A-Za-z_-]\{20,\}' | head -n 1)

"$bin/filature-provider" key new --key-file "$work/provider.key" >/dev/null
start "$other_core" agent "$bin/filature-provider" run --gateway "http://127.0.0.1:$gateway_port" --engine "$engine_url" \
    --key-file "$work/provider.key" --name bench-tunnel --model bench-tunnel --concurrency 4096 --context-tokens 131072 \
    --price-prompt 50000000 --price-completion 200000000 --price-call 1000
await "the tunnel" tunnel_is_up

cases=()
for case in ${BENCH_CASES:-}; do cases+=(--case "$case"); done
gateway_target="http://127.0.0.1:$gateway_port/v1,pid=$gateway_pid,key=$key"
taskset -c "$other_core" "$bin/filature-loadtest" bench "${cases[@]}" \
    --rounds "${BENCH_ROUNDS:-5}" --window-s "${BENCH_WINDOW_S:-2}" --json target/bench/overhead.json \
    --target "direct=$engine_url/v1" \
    --target "nginx=http://127.0.0.1:$nginx_port/v1,pid=$nginx_pid" \
    --target "gateway=$gateway_target" \
    --target "gateway:tunnel=$gateway_target,model=bench-tunnel"

# Figures of a gateway that loses money on the way would be worth nothing.
books_are_closed() { "$bin/filature" accounts books "${data[@]}" | tee "$work/books.txt" | grep -q 'in 0 holds'; }
await "the last holds to be posted" books_are_closed
"$bin/filature" accounts books "${data[@]}" >/dev/null
echo "books: $(grep '^add up' "$work/books.txt" | sed 's/^add up *//'), $(grep '^spent' "$work/books.txt" | sed 's/^spent */spent /')"
