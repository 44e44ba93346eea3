package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// context stands in front of what is signed.
const context = "evidence of a test"

// document is the evidence of a TDX machine as it is sent.
type document struct {
	RawQuote []byte
	UserData []byte
}

// attester makes evidence with the key of a seed.
type attester struct {
	seed, size int
}

// verifier accepts evidence of the key of a seed.
type verifier struct {
	seed int
}

// seen is what a verifier has accepted.
type seen struct {
	key  string
	size int
}

func keyOf(seed int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(seed)}, ed25519.SeedSize))
}

// reportData is what a quote must have signed: the hash of key and nonce, then zeros.
func reportData(userData, nonce []byte) []byte {
	hash := sha256.Sum256(append(bytes.Clone(userData), nonce...))
	return append(hash[:], make([]byte, 32)...)
}

func (a attester) attest(userData, nonce []byte) ([]byte, error) {
	data := reportData(userData, nonce)
	signature := ed25519.Sign(keyOf(a.seed), append([]byte(context), data...))
	quote := append(data, signature...)
	if padding := a.size - len(quote); padding > 0 {
		quote = append(quote, make([]byte, padding)...)
	}
	return json.Marshal(document{RawQuote: quote, UserData: userData})
}

func (v verifier) verify(text, userData, nonce []byte) (*seen, error) {
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.RawQuote) < 128 {
		return nil, errors.New("evidence is too short")
	}
	data, signature := doc.RawQuote[:64], doc.RawQuote[64:128]
	public := keyOf(v.seed).Public().(ed25519.PublicKey)
	if !ed25519.Verify(public, append([]byte(context), data...), signature) {
		return nil, errors.New("evidence is not signed by the test key")
	}
	if !bytes.Equal(data, reportData(doc.UserData, nonce)) {
		return nil, errors.New("evidence is for another nonce")
	}
	if !bytes.Equal(doc.UserData, userData) {
		return nil, errors.New("evidence is for another key")
	}
	return &seen{key: hex.EncodeToString(public), size: len(text)}, nil
}
