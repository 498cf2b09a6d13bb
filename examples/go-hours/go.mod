module go-hours

go 1.24
