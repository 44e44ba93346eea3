package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// got is what `get` prints: the registers that are proven, and the answer.
type got struct {
	Registers map[string]string `json:"registers"`
	Version   string            `json:"version"`
	Status    int               `json:"status"`
	Body      string            `json:"body"`
}

// get asks a machine of Azure for a URL as the usual Go programs do, with their HTTP client, after it has
// proven itself up to the root in a DER file.
func get(base *tls.Config, url, rootFile string) error {
	der, err := os.ReadFile(rootFile)
	if err != nil {
		return err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	nonce, err := newNonce()
	if err != nil {
		return err
	}
	var result got
	config := base.Clone()
	config.ServerName = base64.StdEncoding.EncodeToString(nonce)
	config.InsecureSkipVerify = true
	config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
		certificate, err := x509.ParseCertificate(raw[0])
		if err != nil {
			return err
		}
		userData, err := keyHash(certificate.PublicKey)
		if err != nil {
			return err
		}
		for _, extension := range certificate.Extensions {
			if extension.Id.Equal(azureOID) {
				result.Registers, err = verifyAzure(extension.Value, userData, nonce, root)
				return err
			}
		}
		return errors.New("the certificate has no evidence")
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 60 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	result.Version = tls.VersionName(response.TLS.Version)
	result.Status, result.Body = response.StatusCode, string(body)
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}
