# The demo's money, from the deposit to the root on chain: to be sourced by demo.sh.
#
# Everything is asked of the programs themselves, as an operator, a caller and a provider would. The chain is a devnet: the
# real virtual machine and the mainnet's fees, coins that are worth nothing.

# http METHOD URL KEY [BODY]: prints what is answered, its headers into a file; fails unless that is a success.
http() {
    local host path answer body=${4:-}
    host=${2#http://}
    path=/${host#*/}
    host=${host%%/*}
    exec 3<>"/dev/tcp/${host%:*}/${host#*:}" || return
    printf '%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
        "$1" "$path" "$host" "$3" "${#body}" "$body" >&3
    answer=$(cat <&3)
    exec 3>&-
    [[ $answer == "HTTP/1.1 20"* ]] || { echo "$answer" | tail -n 1 >&2; return 1; }
    echo "${answer%%$'\r\n\r\n'*}" >"$data/headers"
    echo "${answer#*$'\r\n\r\n'}"
}

# wallet NAME: the address of a wallet, made when it is asked for first.
wallet() {
    local verb=new
    [[ -e $data/$1.words ]] && verb=show
    "$bin/filature" wallet "$verb" "$data/$1.words" --network testnet --json | field address
}

# balance ADDRESS: what an account on the chain holds, in nano.
balance() {
    http GET "$chain/api/v2/getAddressInformation?address=$1" - | field balance
}

# faucet ADDRESS NANO COMMENT: a transfer from somebody.
faucet() {
    http POST "$chain/devnet/faucet" - "{\"address\":\"$1\",\"amount\":$2,\"comment\":\"$3\"}" >/dev/null
}

# ton NANO: the amount in TON.
ton() {
    printf '%d.%09d TON' $(($1 / 1000000000)) $(($1 % 1000000000))
}

# until_true WHAT SECONDS COMMAND...: waits for it.
until_true() {
    local what=$1 tries=$(($2 * 5))
    shift 2
    until "$@"; do
        ((tries-- > 0)) || { tail -n 5 "$data/gateway.log" >&2; fail "waited in vain for $what"; }
        sleep 0.2
    done
}

# A chain, the operator's wallets with coins, and the settlement contract.
start_chain() {
    start devnet "$bin/filature" devnet --listen 127.0.0.1:0
    await devnet "^endpoint" 20
    chain=$(sed -n 's/^endpoint *//p' "$data/devnet.log")
    operator=$(wallet operator)
    faucet "$operator" 20000000000 ""
    on_chain=(--network testnet --endpoint "$chain")
    echo "a TON devnet runs at $chain; deploying the settlement contract"
    contract=$("$bin/filature" contract deploy --owner "$(wallet owner)" --arbiter "$(wallet arbiter)" \
        --forfeit-to "$(wallet charity)" --wallet "$data/operator.words" "${on_chain[@]}" --json | tee "$data/contract.json" | field friendly)
    [[ -n $contract ]] || fail "the contract was not deployed"
    cat >"$data/filature.toml" <<CONFIG
[settlement]
network = "testnet"
endpoints = ["$chain"]
contract = "$contract"
wallet_key_file = "$data/operator.words"
deposit_address = "$(wallet till)"
withdrawal_wallet_key_file = "$data/till.words"
payout_min_nano = 1
payout_every_s = 5
poll_every_ms = 200
[epochs]
age_ms = 5000
CONFIG
}

has_credit() {
    http GET "$gateway_url/v1/deposits" "$api_key" | grep -q amount_nano
}

# The account asks where to pay, and somebody pays.
pay_in() {
    local asked address comment
    asked=$(http POST "$gateway_url/v1/deposits" "$api_key" '{"amount_nano": 5000000000}')
    address=$(field address <<<"$asked") comment=$(field comment <<<"$asked")
    echo "1. deposit    5 TON to $address, comment $comment"
    faucet "$address" 5000000000 "$comment"
    until_true "the deposit" 30 has_credit
    echo "              credited"
}

# A dozen calls.
spend() {
    local body="{\"model\": \"$model\", \"max_tokens\": 32, \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}" n
    for n in {1..12}; do
        http POST "$gateway_url/v1/chat/completions" "$api_key" "$body" >/dev/null || fail "a call was not answered"
    done
    call=$(tr -d '\r' <"$data/headers" | sed -n 's/^x-generation-id: *//Ip')
    echo "2. spend      12 calls, the last is $call"
}

is_sealed() {
    http GET "$gateway_url/v1/receipts/$call" "$api_key" >"$data/receipt.json" && grep -q '"inclusion"' "$data/receipt.json"
}

is_verified() {
    "$bin/filature" receipts verify "$data/receipt.json" --contract "$contract" "${on_chain[@]}" --gateway "$gateway_url" \
        >"$data/verified.txt" 2>&1
}

nobody_is_owed() {
    "$bin/filature" payouts owed --data "$data/ledger" --json 2>/dev/null | tr -d ' \n' | grep -q '"owed":\[\]'
}

# The epoch is sealed, the providers are paid, the roots anchored, and the receipt is followed to the chain.
settle() {
    local before after paid payees
    before=$(balance "$operator")
    until_true "the epoch to be sealed" 60 is_sealed
    echo "3. seal       the receipt stands in an epoch"
    until_true "the root of the epoch on chain" 90 is_verified
    until_true "all providers to be paid" 90 nobody_is_owed
    after=$(balance "$operator")
    read -r payees paid < <("$bin/filature" payouts list --data "$data/ledger" --json | tr -d ' \n' | grep -o '"amount":[0-9]*' |
        awk -F: '{ count++; sum += $2 } END { print count + 0, sum + 0 }')
    echo "4. pay        $payees payments to providers: $(ton "$paid")"
    echo "5. anchor     in the contract $contract"
    echo "6. verify     the receipt of $call:"
    sed 's/^/              /' "$data/verified.txt"
    echo "   cost       of these payments and their anchors, fees of the chain: $(ton $((before - after - paid)))"
}
