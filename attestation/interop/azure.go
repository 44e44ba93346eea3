package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strconv"
)

// azureOID is that of the extension with the evidence of a machine of Azure.
var azureOID = []int{1, 3, 9900, 4, 3}

// azureDocument is the evidence of a machine of Azure as it is sent.
type azureDocument struct {
	Attestation struct {
		AKPub  []byte `json:"ak_pub"`
		Quotes []struct {
			Quote  []byte `json:"quote"`
			RawSig []byte `json:"raw_sig"`
			Pcrs   struct {
				Hash int               `json:"hash"`
				Pcrs map[string][]byte `json:"pcrs"`
			} `json:"pcrs"`
		} `json:"quotes"`
	}
	InstanceInfo []byte
	UserData     []byte
}

type instanceInfo struct {
	AttestationReport []byte
	RuntimeData       []byte
}

type runtimeData struct {
	Keys []struct {
		Kid string `json:"kid"`
		Kty string `json:"kty"`
		N   string `json:"n"`
	} `json:"keys"`
}

// verifyAzure follows evidence from the connection's key and nonce, by the TPM's quote and the AK that the
// TD's report names, up to a root of the processor's maker. It knows neither collateral nor a policy: that
// the TCB is up to date and the registers are good, others have to say. It returns the registers.
func verifyAzure(text, userData, nonce []byte, root *x509.Certificate) (map[string]string, error) {
	var doc azureDocument
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if !bytes.Equal(doc.UserData, userData) {
		return nil, errors.New("the document is about another key")
	}
	var info instanceInfo
	if err := json.Unmarshal(doc.InstanceInfo, &info); err != nil {
		return nil, err
	}
	if err := verifyQuote(info.AttestationReport, root); err != nil {
		return nil, fmt.Errorf("TD quote: %w", err)
	}
	hash := sha256.Sum256(info.RuntimeData)
	// The report data are the last 64 bytes of the body, which follows a header of 48.
	if data := info.AttestationReport[568:632]; !bytes.Equal(data, append(hash[:], make([]byte, 32)...)) {
		return nil, errors.New("the TD quote is not about the runtime data")
	}
	ak, err := vouchedAK(info.RuntimeData)
	if err != nil {
		return nil, err
	}
	// A TPMT_PUBLIC of an RSA key ends with its modulus.
	if !bytes.HasSuffix(doc.Attestation.AKPub, ak.N.Bytes()) {
		return nil, errors.New("ak_pub is not the AK that the runtime data name")
	}
	if len(doc.Attestation.Quotes) != 1 || doc.Attestation.Quotes[0].Pcrs.Hash != 11 {
		return nil, errors.New("expected one quote of the SHA-256 bank")
	}
	quote := doc.Attestation.Quotes[0]
	extra := sha256.Sum256(append(bytes.Clone(userData), nonce...))
	qualifying := sha256.Sum256(append(bytes.Clone(doc.InstanceInfo), extra[:]...))
	digest := sha256.New()
	registers := map[string]string{}
	for index := range 24 {
		value := quote.Pcrs.Pcrs[strconv.Itoa(index)]
		if len(value) != 32 {
			return nil, fmt.Errorf("no value of PCR %d", index)
		}
		digest.Write(value)
		registers[strconv.Itoa(index)] = hex.EncodeToString(value)
	}
	return registers, verifyAttest(quote.Quote, quote.RawSig, ak, qualifying[:], digest.Sum(nil))
}

func vouchedAK(text []byte) (*rsa.PublicKey, error) {
	var data runtimeData
	if err := json.Unmarshal(text, &data); err != nil {
		return nil, err
	}
	for _, key := range data.Keys {
		if key.Kid == "HCLAkPub" && key.Kty == "RSA" {
			modulus, err := base64.RawURLEncoding.DecodeString(key.N)
			return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}, err
		}
	}
	return nil, errors.New("the runtime data name no AK")
}

// verifyAttest checks a TPMS_ATTEST of all 24 registers, and its TPMT_SIGNATURE by RSASSA with SHA-256.
func verifyAttest(attest, signature []byte, ak *rsa.PublicKey, qualifying, pcrDigest []byte) error {
	if len(signature) != 262 || !bytes.Equal(signature[:6], []byte{0, 0x14, 0, 0x0b, 1, 0}) {
		return errors.New("expected a signature by RSASSA with SHA-256 and 2048 bits")
	}
	hash := sha256.Sum256(attest)
	if err := rsa.VerifyPKCS1v15(ak, crypto.SHA256, hash[:], signature[6:]); err != nil {
		return fmt.Errorf("TPM quote: %w", err)
	}
	// magic, type, qualifiedSigner of 2 + 34, extraData of 2 + 32, clock and firmware version of 25,
	// one selection of 10, pcrDigest of 2 + 32.
	selection := []byte{0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff}
	switch {
	case len(attest) != 145 || !bytes.Equal(attest[:6], []byte{0xff, 'T', 'C', 'G', 0x80, 0x18}):
		return errors.New("TPM quote: it is none")
	case !bytes.Equal(attest[44:76], qualifying):
		return errors.New("TPM quote: it is about another nonce, key or TD quote")
	case !bytes.Equal(attest[101:111], selection):
		return errors.New("TPM quote: it does not select all registers")
	case !bytes.Equal(attest[113:], pcrDigest):
		return errors.New("TPM quote: it is of other registers")
	}
	return nil
}

// verifyQuote checks the signatures of a TD quote (version 4), down from root.
func verifyQuote(quote []byte, root *x509.Certificate) error {
	// Header 48, body 584, size of what follows, signature 64, key 64, type and size of the QE's part 6.
	if len(quote) < 770 || binary.LittleEndian.Uint16(quote) != 4 {
		return errors.New("it is none of version 4")
	}
	signed, rest := quote[:632], quote[636:]
	signature, key, rest := rest[:64], rest[64:128], rest[134:]
	if len(rest) < 450 {
		return errors.New("it ends early")
	}
	report, qeSignature, rest := rest[:384], rest[384:448], rest[448:]
	length := int(binary.LittleEndian.Uint16(rest))
	if len(rest) < 2+length+6 {
		return errors.New("it ends early")
	}
	auth, chain := rest[2:2+length], rest[2+length+6:]
	pck, err := verifyChain(chain, root)
	if err != nil {
		return err
	}
	keyHash := sha256.Sum256(append(bytes.Clone(key), auth...))
	switch {
	case !isSignedBy(report, qeSignature, pck):
		return errors.New("the PCK has not signed the QE's report")
	// The QE's report data are the last 64 bytes of its report.
	case !bytes.Equal(report[320:], append(keyHash[:], make([]byte, 32)...)):
		return errors.New("the QE's report is not about the key")
	case !isSignedBy(signed, signature, point(key)):
		return errors.New("the key has not signed the quote")
	}
	return nil
}

func verifyChain(text []byte, root *x509.Certificate) (*ecdsa.PublicKey, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, certificate)
	}
	if len(chain) != 3 || !chain[2].Equal(root) {
		return nil, errors.New("its certificates do not end at the root")
	}
	for index := range 2 {
		if err := chain[index].CheckSignatureFrom(chain[index+1]); err != nil {
			return nil, err
		}
	}
	pck, isEcdsa := chain[0].PublicKey.(*ecdsa.PublicKey)
	if !isEcdsa {
		return nil, errors.New("the PCK is no key of an elliptic curve")
	}
	return pck, nil
}

func isSignedBy(message, signature []byte, key *ecdsa.PublicKey) bool {
	hash := sha256.Sum256(message)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(key, hash[:], r, s)
}

func point(key []byte) *ecdsa.PublicKey {
	x, y := new(big.Int).SetBytes(key[:32]), new(big.Int).SetBytes(key[32:])
	return &ecdsa.PublicKey{Curve: elliptic.P256(), X: x, Y: y}
}
