select
    origin as airport,
    hour_start_utc as observed_at,
    available_utc as available_at,
    temp as temperature,
    humid as humidity,
    wind_dir as wind_direction,
    wind_speed,
    wind_gust,
    cast(precip as decimal(6, 2)) as precip,
    precip > 0 as is_precipitating,
    cast(pressure as decimal(6, 1)) as pressure,
    visib as visibility
from {{ source('nycflights', 'weather') }}
