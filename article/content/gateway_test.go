package content

import (
	"strings"
	"testing"

	"github.com/litfass/litfass/article"
)

func TestGatewayHTML(t *testing.T) {
	page := "<html><style>x</style><p>Gr\xfc\xdfe</p>\n\n\n<div>zwei<br>drei</div><script>alert(1)</script><img src=http://evil.example/x.png>"
	if got := TextOfHTML(page, "iso-8859-1"); got != "Grüße\n\nzwei\ndrei" {
		t.Errorf("text: %q", got)
	}
	safe := SafeHTML(page)
	for _, bad := range []string{"script", "alert", "evil", "style"} {
		if strings.Contains(safe, bad) {
			t.Errorf("%q is left in %q", bad, safe)
		}
	}
}

func TestLinkedEnclosure(t *testing.T) {
	text := "From: a@b\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nhi\n--x\nContent-Type: message/external-body; access-type=URL;\n URL=\"http://o.example/\n  a.mp3\"; size=1234\n\nContent-Type: audio/mpeg\nContent-Disposition: attachment; filename*=UTF-8''a.mp3\n\n--x--\n"
	wire, err := article.Normalize([]byte(text), article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := article.Parse(wire, article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	files := Of(a).Files()
	if len(files) != 1 || files[0].Link != "http://o.example/a.mp3" || files[0].Type != "audio/mpeg" || files[0].Size() != 1234 || files[0].Name != "a.mp3" {
		t.Errorf("%+v", files)
	}
}
