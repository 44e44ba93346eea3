package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// documentOID is that of the extension with the evidence of a TDX machine.
var documentOID = []int{1, 3, 9900, 5, 99}

// side is one side of a connection: what it shows, what it wants to see, what it has seen.
type side struct {
	own  attester
	peer verifier
	seen *seen
}

func newKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func newNonce() ([]byte, error) {
	nonce := make([]byte, 32)
	_, err := rand.Read(nonce)
	return nonce, err
}

// client is the configuration of one connection to a server.
func (s *side) client(base *tls.Config, name string) (*tls.Config, error) {
	nonce, err := newNonce()
	if err != nil {
		return nil, err
	}
	config := base.Clone()
	config.ServerName = base64.StdEncoding.EncodeToString(nonce)
	if name != "" {
		config.ServerName = name
	}
	config.InsecureSkipVerify = true
	config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
		return s.check(raw, nonce)
	}
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		nonce, err := nonceOfAuthorities(request.AcceptableCAs)
		if err != nil {
			return nil, err
		}
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		return s.certificate(key, nonce)
	}
	return config, nil
}

// server is the configuration of a connection to a client, of which the nonce is not known yet.
func (s *side) server(base *tls.Config, key *ecdsa.PrivateKey) *tls.Config {
	config := base.Clone()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		nonce, err := base64.StdEncoding.DecodeString(hello.ServerName)
		if err != nil {
			return nil, fmt.Errorf("the server name is no nonce: %w", err)
		}
		certificate, err := s.certificate(key, nonce)
		if err != nil {
			return nil, err
		}
		config := base.Clone()
		config.Certificates = []tls.Certificate{*certificate}
		if s.peer.seed >= 0 {
			own, err := newNonce()
			if err != nil {
				return nil, err
			}
			config.ClientAuth = tls.RequireAnyClientCert
			config.ClientCAs, err = authorities(own)
			if err != nil {
				return nil, err
			}
			config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
				return s.check(raw, own)
			}
		}
		return config, nil
	}
	return config
}

// certificate is a self-signed one with evidence for the nonce, or without any.
func (s *side) certificate(key *ecdsa.PrivateKey, nonce []byte) (*tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Constellation"},
		NotBefore:    now.Add(-2 * time.Hour),
		NotAfter:     now.Add(2 * time.Hour),
	}
	if s.own.seed >= 0 {
		userData, err := keyHash(&key.PublicKey)
		if err != nil {
			return nil, err
		}
		text, err := s.own.attest(userData, nonce)
		if err != nil {
			return nil, err
		}
		template.ExtraExtensions = []pkix.Extension{{Id: documentOID, Value: text}}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// check verifies that the certificate is its own root, and the evidence in it if some is wanted.
func (s *side) check(raw [][]byte, nonce []byte) error {
	if len(raw) == 0 {
		return errors.New("no certificate")
	}
	certificate, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
		return err
	}
	if s.peer.seed < 0 {
		return nil
	}
	userData, err := keyHash(certificate.PublicKey)
	if err != nil {
		return err
	}
	for _, extension := range certificate.Extensions {
		if extension.Id.Equal(documentOID) {
			s.seen, err = s.peer.verify(extension.Value, userData, nonce)
			return err
		}
	}
	return errors.New("the certificate has no evidence")
}

func keyHash(public any) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(spki)
	return hash[:], nil
}

// authorities is a pool of which the only subject carries the nonce.
func authorities(nonce []byte) (*x509.CertPool, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: base64.StdEncoding.EncodeToString(nonce)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	block := pem.Block{Type: "CERTIFICATE", Bytes: der}
	if !pool.AppendCertsFromPEM(pem.EncodeToMemory(&block)) {
		return nil, errors.New("the authority's certificate is unusable")
	}
	return pool, nil
}

// nonceOfAuthorities reads what authorities wrote.
func nonceOfAuthorities(names [][]byte) ([]byte, error) {
	if len(names) != 1 {
		return nil, fmt.Errorf("expected one authority, got %d", len(names))
	}
	var sequence pkix.RDNSequence
	if rest, err := asn1.Unmarshal(names[0], &sequence); err != nil || len(rest) > 0 {
		return nil, errors.New("the authority's name is malformed")
	}
	var name pkix.Name
	name.FillFromRDNSequence(&sequence)
	return base64.StdEncoding.DecodeString(name.CommonName)
}
