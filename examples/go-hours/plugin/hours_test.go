package plugin

import (
	"testing"
	"time"

	auth "go-hours/bindings/wasmtx_plugin_auth"
	contract "go-hours/bindings/wasmtx_plugin_types"
)

const config = `{"offset":"+01:00","open":{"weekdays":"07:00-19:00","saturday":"09:00-13:00","sunday":"closed"}}`

func TestTheDoorsAreOpenAndClose(t *testing.T) {
	if !Configure(config).IsOk() {
		t.Fatal("the configuration is refused")
	}
	for at, seconds := range map[string]uint64{
		"2026-11-23T05:59:59Z": 0,     // Monday
		"2026-11-23T06:00:00Z": 43200, // seven o'clock there
		"2026-11-23T17:59:00Z": 60,
		"2026-11-23T18:00:00Z": 0,
		"2026-11-28T11:00:00Z": 3600, // Saturday
		"2026-11-29T11:00:00Z": 0,    // Sunday
	} {
		now = func() time.Time {
			moment, err := time.Parse(time.RFC3339, at)
			if err != nil {
				t.Fatal(err)
			}
			return moment
		}
		decision := Check(auth.Request{Action: contract.ActionRead})
		var found uint64
		if decision.Tag() == auth.DecisionAllow {
			found = decision.Allow().Lasts.Some()
		}
		if found != seconds {
			t.Errorf("at %s the doors are open for %d seconds, not %d", at, found, seconds)
		}
	}
}

func TestPublishersComeAtAnyTime(t *testing.T) {
	if Check(auth.Request{Action: contract.ActionPublish}).Tag() != auth.DecisionAllow {
		t.Error("a publisher is refused")
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, text := range []string{
		"{", `{"offset":"Berlin"}`, `{"open":{}}`, `{"offset":"+01:00","opened":{}}`,
		`{"offset":"+01:00","open":{"monday":"07:00-19:00"}}`, `{"offset":"+01:00","open":{"sunday":"7-19"}}`,
		`{"offset":"+01:00","open":{"sunday":"19:00-07:00"}}`, `{"offset":"+01:00","open":{"sunday":"07:00-24:01"}}`,
	} {
		if Configure(text).IsOk() {
			t.Errorf("%s is accepted", text)
		}
	}
}
