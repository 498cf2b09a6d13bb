package plugin

import (
	"testing"

	auth "plugin-name/bindings/wasmtx_plugin_auth"
)

// check says who comes in with this password, "" for nobody.
func check(user, secret string) string {
	verify = func(name, password string) bool { return name == user && password == secret }
	decision := Check(auth.Request{Path: "hall"})
	if decision.Tag() != auth.DecisionAllow {
		return ""
	}
	return decision.Allow().Identity.Some()
}

func TestWhoIsListedComesInWithTheRightPassword(t *testing.T) {
	if !Configure(`{"users":{"ada":"engine"}}`).IsOk() {
		t.Fatal("the configuration is refused")
	}
	for secret, who := range map[string]string{"engine": "ada", "wrong": "", "": ""} {
		if found := check("ada", secret); found != who {
			t.Errorf("%q lets %q in", secret, found)
		}
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, text := range []string{"{", "{}", `{"users":{}}`, `{"users":{"ada":7}}`, `{"user":{}}`} {
		if Configure(text).IsOk() {
			t.Errorf("%s is accepted", text)
		}
	}
}
