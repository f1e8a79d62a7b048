-- A diverted flight is left out: it did not land at its planned airport, and its recorded arrival may be off by a day.
select
    flight_id,
    carrier,
    tailnum,
    origin,
    dest,
    scheduled_hour,
    departed_at,
    arrived_at as landed_at,
    dep_delay,
    arr_delay,
    air_time,
    distance
from {{ ref('stg_flights') }}
where arrived_at is not null
    and arr_delay is not null
    and not diverted
