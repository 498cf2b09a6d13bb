package plugin

import (
	"encoding/json"
	"strings"

	"plugin-name/bindings/types"
	auth "plugin-name/bindings/wasmtx_plugin_auth"
)

// Lets those in who are listed with their password, as themselves.
var (
	// The `config` of mediamtx.yml: passwords by name.
	config struct {
		Users map[string]string `json:"users"`
	}
	// The password itself never comes here: the server is asked whether it was this one. Tests put something else here.
	verify func(user, secret string) bool
)

// Configure reads the configuration.
func Configure(text string) configured {
	config.Users = nil
	reader := json.NewDecoder(strings.NewReader(text))
	reader.DisallowUnknownFields()
	if err := reader.Decode(&config); err != nil {
		return invalid("", err.Error())
	}
	if len(config.Users) == 0 {
		return invalid("/users", "nobody could come in")
	}
	return fine()
}

// Check decides about a client.
func Check(request auth.Request) auth.Decision {
	for name, password := range config.Users {
		if verify(name, password) {
			return auth.MakeDecisionAllow(auth.Permit{Identity: types.Some(name)})
		}
	}
	return auth.MakeDecisionDeny(auth.DenialCredentials)
}
