package smtpd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMadeMails: mails that testdata/mails/make.py makes, of all charsets, encodings and
// structures, right and wrong, come in by SMTP and say as articles what Python reads in
// the mails: to our reader, and to Python.
func TestMadeMails(t *testing.T) {
	count, seed := "400", "1"
	if testing.Short() {
		count = "60"
	}
	if s := os.Getenv("LITFASS_MADE"); s != "" { // SEED COUNT
		seed, count, _ = strings.Cut(s, " ")
	}
	py := newPython(t)
	out, err := exec.Command("python3", "-B", "testdata/mails/make.py", seed, count).Output()
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, nil)
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 16<<20)
	taken, unsure := 0, 0
	for i := 0; sc.Scan(); i++ {
		var made struct {
			Mail []byte
			Want pyReading
		}
		if err := json.Unmarshal(sc.Bytes(), &made); err != nil {
			t.Fatal(err)
		}
		was := o.store.Last()
		if err := o.send("a@a.example", []string{"mesh.talk@box.example"}, string(made.Mail)); err != nil || o.store.Last() == was {
			t.Errorf("%d: %v:\n%s", i, err, made.Mail)
			continue
		}
		taken++
		if made.Want.Wrong != "" {
			unsure++
			continue
		}
		a, err := o.store.Open(t.Context(), o.store.Last())
		if err != nil {
			t.Fatal(err)
		}
		why := compare(read(a), made.Want)
		// Python reads the article as it read the mail.
		if again := py.read(t, bytes.ReplaceAll(a.Octets(), []byte("\r\n"), []byte("\n"))); !ours.Match(a.Octets()) {
			if !sameReading(again, made.Want) {
				why = append(why, fmt.Sprintf("Python: article %+v\nmail %+v", again, made.Want))
			}
		}
		if len(why) > 0 {
			t.Errorf("%d: %s\n%s\n------\n%s", i, strings.Join(why, "\n"), made.Mail, a.Octets())
		}
	}
	t.Logf("%d taken, of %d Python is not sure", taken, unsure)
}
