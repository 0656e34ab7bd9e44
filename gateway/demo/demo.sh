#!/usr/bin/env bash
# Runs a whole Filature in the foreground until Ctrl-C: a TON chain on this machine, a gateway with the embedded ledger in a
# fresh folder, providers that reach it through their own tunnels, and an account that pays in, spends, and sees its calls
# settled. The last line printed says how to call it.
#
#   demo.sh simulated    four simulated providers of different speed and price
#   demo.sh smollm2      one provider with a real model on this machine's processor; needs target/python
set -euo pipefail

kind=${1:?simulated or smollm2}
port=${PORT:-8080}
cd "$(dirname "$0")/../.."
gateway_url=http://127.0.0.1:$port
bin=${CARGO_TARGET_DIR:-target}/debug
data=$(mktemp -d -t filature-demo-XXXXXX)
started=()

finish() {
    trap - EXIT INT TERM
    # Providers first: their running calls drain through a gateway that is still there.
    for ((index = ${#started[@]} - 1; index >= 0; index--)); do
        kill -TERM "${started[index]}" 2>/dev/null || true
        wait "${started[index]}" 2>/dev/null || true
    done
    rm -rf "$data"
}

fail() {
    echo "demo: $*" >&2
    exit 1
}

# start NAME COMMAND...: runs it in the background with its output in NAME.log.
start() {
    local name=$1
    shift
    "$@" >"$data/$name.log" 2>&1 &
    started+=($!)
}

# await NAME TEXT SECONDS: waits until the last program started has printed TEXT.
await() {
    local tries=$(($3 * 10))
    until grep -q -- "$2" "$data/$1.log"; do
        if ! kill -0 "${started[-1]}" 2>/dev/null || ((tries-- == 0)); then
            tail -n 20 "$data/$1.log" >&2
            fail "the $1 did not come up; its last words stand above"
        fi
        sleep 0.1
    done
}

field() {
    sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1
}

. gateway/demo/money.sh

trap finish EXIT
trap 'echo; exit 0' INT TERM

if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    fail "port $port is taken by another program; choose another: make demo PORT=8081"
fi

echo "building (the first time takes some minutes)"
cargo build --quiet --workspace --bins

start_chain
start gateway "$bin/filature" serve --listen "127.0.0.1:$port" --data "$data/ledger" --config "$data/filature.toml"
await gateway "the gateway serves" 20

case $kind in
simulated)
    model=sim-small
    start fleet "$bin/filature-loadtest" fleet --gateway "$gateway_url" --model "$model" --providers 4 --seed 7 \
        $(for number in 1 2 3 4; do echo --payout "$(wallet "provider-$number")"; done)
    await fleet "^ready providers=4" 30
    grep '^provider ' "$data/fleet.log"
    ;;
smollm2)
    model=smollm2-135m-instruct
    start engine target/python/bin/python gateway/demo/llm_engine.py --model "$model"
    await engine "^ready base_url=" 60
    engine=$(sed -n 's/^ready base_url=//p' "$data/engine.log")
    "$bin/filature-provider" key new --key-file "$data/provider.key" >/dev/null
    start provider "$bin/filature-provider" run --gateway "$gateway_url" --engine "${engine%/v1}" \
        --key-file "$data/provider.key" --payout "$(wallet provider-1)" --name smollm2 --model "$model" --quantization q4_1 \
        --price-prompt 50000000 --price-completion 200000000 --concurrency 4 --context-tokens 2048 \
        --endpoints chat,completions,embeddings --capabilities tools,json_schema,logprobs
    tries=100
    until grep -q "a provider joined" "$data/gateway.log"; do
        ((tries-- > 0)) || fail "the provider did not join: $(tail -n 5 "$data/provider.log")"
        sleep 0.1
    done
    ;;
*)
    fail "unknown kind $kind: simulated or smollm2"
    ;;
esac

account=$("$bin/filature" accounts create demo --data "$data/ledger" --json | field id)
api_key=$("$bin/filature" keys create --account "$account" --name demo --data "$data/ledger" --json 2>/dev/null | field key)
[[ -n $api_key ]] || fail "no API key was made"
pay_in
spend
settle

echo "model $model; the API is described at $gateway_url/docs; Ctrl-C ends everything"
echo "the books: $bin/filature accounts books --data $data/ledger; who was paid: $bin/filature payouts list --data $data/ledger"
echo "ready base_url=$gateway_url/v1 api_key=$api_key"
wait -n "${started[@]}" || true
tail -n 5 "$data"/*.log >&2
fail "a part of the demo has ended by itself; the last words of all stand above"
