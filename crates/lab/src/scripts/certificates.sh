# Makes the certificates of a TLS proxy by the recipe $1 in a private directory, whose path is
# printed: ca_cert.pem, and chain.pem with chain_key.pem for the server, whose name is $2
# ("DNS:ctl"). Where $3 is "client", also client.pem and client_key.pem.
set -e
umask 077
cd "$(mktemp -d /tmp/tls.XXXXXX)"
exec 3>&1 >openssl.log 2>&1
trap '[ "$?" -eq 0 ] || tail -n 20 openssl.log >&3' EXIT

# `openssl ca` alone sets both dates of a certificate in every OpenSSL from 3.0 on.
cat >ca.cnf <<'END'
[ca]
default_ca = lab
[lab]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 30
policy = any
[any]
commonName = supplied
END
: >index.txt

server="basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = $2"

# key NAME [rsa]
key() {
    case $2 in
    rsa) openssl genrsa -out "$1_key.pem" 2048 ;;
    *) openssl ecparam -out "$1_key.pem" -name prime256v1 -genkey -noout ;;
    esac
}

# root NAME [rsa]: a certificate authority.
root() {
    key "$1" "$2"
    openssl req -x509 -new -key "$1_key.pem" -out "$1.pem" -days 30 -subj "/CN=lab $1" \
        -addext "keyUsage = critical, keyCertSign, cRLSign"
}

# issue NAME ISSUER COMMON-NAME EXTENSIONS [OPTION...]: a certificate for NAME_key.pem.
issue() {
    name=$1 issuer=$2 common=$3
    printf '%s\n' "$4" >extensions.cnf
    shift 4
    openssl req -new -key "${name}_key.pem" -subj "/CN=$common" -out "$name.csr"
    openssl ca -batch -notext -config ca.cnf -extfile extensions.cnf -in "$name.csr" \
        -cert "$issuer.pem" -keyfile "${issuer}_key.pem" -out "$name.pem" "$@"
}

case $1 in
documented | version-1)
    # What Slurm's documentation says.
    subject="/C=XX/ST=StateName/L=CityName/O=CompanyName/OU=CompanySectionName"
    openssl ecparam -out ca_cert_key.pem -name prime256v1 -genkey -noout
    openssl req -x509 -key ca_cert_key.pem -out ca_cert.pem -subj "$subject/CN=my_slurm_ca"
    openssl ecparam -out ctld_cert_key.pem -name prime256v1 -genkey -noout
    openssl req -new -key ctld_cert_key.pem -out ctld_cert.csr -subj "$subject/CN=ctld"
    if [ "$1" = documented ]; then
        openssl x509 -req -in ctld_cert.csr -CA ca_cert.pem -CAkey ca_cert_key.pem \
            -out ctld_cert.pem -sha384
    else
        # Later than OpenSSL 3.0, `openssl x509` adds extensions, and so makes it version 3.
        printf '[req]\ndistinguished_name = none\n[none]\n' >plain.cnf
        openssl req -x509 -x509v1 -config plain.cnf -in ctld_cert.csr \
            -CA ca_cert.pem -CAkey ca_cert_key.pem -out ctld_cert.pem -sha384
    fi
    mv ctld_cert_key.pem chain_key.pem
    mv ctld_cert.pem chain.pem
    ;;
ecdsa)
    root ca_cert
    key chain
    issue chain ca_cert ctl "$server"
    ;;
rsa)
    root ca_cert rsa
    key chain rsa
    issue chain ca_cert ctl "$server"
    ;;
intermediate)
    root ca_cert
    key middle
    issue middle ca_cert "lab intermediate" "basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign"
    key chain
    issue chain middle ctl "$server"
    cat middle.pem >>chain.pem
    ;;
expired)
    root ca_cert
    key chain
    issue chain ca_cert ctl "$server" -startdate 20200101000000Z -enddate 20200201000000Z
    ;;
self-signed)
    # As it is usually done in one line; OpenSSL makes it an authority's.
    key chain
    openssl req -x509 -new -key chain_key.pem -out chain.pem -days 30 -subj "/CN=ctl" \
        -addext "subjectAltName = $2"
    cp chain.pem ca_cert.pem
    cp chain_key.pem ca_cert_key.pem
    ;;
*)
    echo "no recipe '$1'"
    exit 2
    ;;
esac

if [ "$3" = client ]; then
    key client
    issue client ca_cert "lab client" "basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth"
fi
pwd >&3
