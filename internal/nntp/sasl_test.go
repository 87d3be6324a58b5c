package nntp

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// The exchange of RFC 7677 §3.
const (
	rfcNonce  = "rOprNGfwEbeRWgbNEkqO"
	rfcFirst  = "n,,n=user,r=" + rfcNonce
	rfcServer = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	rfcFinal  = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcProof  = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func TestLoginByScram(t *testing.T) {
	caps := "S: 200 hello\nC: CAPABILITIES\nS: 101 list\nS: VERSION 2\nS: AUTHINFO USER SASL\nS: SASL PLAIN SCRAM-SHA-256\nS: .\n" +
		"C: AUTHINFO SASL SCRAM-SHA-256 " + b64(rfcFirst) + "\n"
	for _, tt := range []struct{ name, script, want string }{
		{"RFC 7677", "S: 383 " + b64(rfcServer) + "\nC: " + b64(rfcFinal) + "\nS: 283 " + b64(rfcProof), ""},
		{"the proof as a challenge", "S: 383 " + b64(rfcServer) + "\nC: " + b64(rfcFinal) + "\nS: 383 " + b64(rfcProof) + "\nC: =\nS: 281 welcome", ""},
		{"a wrong password", "S: 383 " + b64(rfcServer) + "\nC: " + b64(rfcFinal) + "\nS: 481 no", "481 no"},
		{"a false server", "S: 383 " + b64(rfcServer) + "\nC: " + b64(rfcFinal) + "\nS: 283 " + b64("v=AAAA"), ErrServerProof.Error()},
		{"another's nonce", "S: 383 " + b64(strings.Replace(rfcServer, "rOpr", "xxxx", 1)) + "\nC: *\nS: 481 cancelled", "not for us"},
		{"endless work", "S: 383 " + b64(strings.Replace(rfcServer, "4096", "40960000", 1)) + "\nC: *\nS: 481 cancelled", "rounds"},
		{"no base64", "S: 383 !!!", "challenge"},
	} {
		d := dialer(play(t, caps+tt.script, nil))
		d.User, d.Password, d.Nonce = "user", "pencil", rfcNonce
		c, err := d.Connect(context.Background())
		if c != nil {
			c.Close()
		}
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "pencil") {
			t.Errorf("%s: the password stands in %v", tt.name, err)
		}
	}
}

func TestLoginByPlainNeedsTLS(t *testing.T) {
	d := dialer(play(t, "S: 200 hello\nC: CAPABILITIES\nS: 101 list\nS: VERSION 2\nS: AUTHINFO SASL\nS: SASL PLAIN\nS: .\nC: AUTHINFO USER u\nS: 483 not in the clear", nil))
	d.User, d.Password = "u", "secret"
	if _, err := d.Connect(context.Background()); !IsCode(errors.Unwrap(err), CodeSecureRequired) {
		t.Error(err)
	}
}

// FuzzScramProof: a server's message never makes us panic, and only one with our
// nonce gets a proof.
func FuzzScramProof(f *testing.F) {
	f.Add(rfcServer)
	f.Add("r=,s=,i=")
	f.Fuzz(func(t *testing.T, first string) {
		if i := strings.Index(first, "i="); i >= 0 && len(first)-i > 7 {
			t.Skip() // slow only
		}
		final, proof, err := scramProof("n=user,r="+rfcNonce, first, rfcNonce, "pencil")
		if err == nil && (!strings.HasPrefix(final, "c=biws,r="+rfcNonce) || len(proof) != 32) {
			t.Errorf("%q: %q", first, final)
		}
	})
}
